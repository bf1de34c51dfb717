import CSwiftCP
import Glibc
import Options
import SystemCalls
import Wire

/// Everything that happens between a valid command line and the program: target, coordinator, environment, exec.
public struct Launcher {
    let options: LaunchOptions
    let access: CoordinatorAccess
    let shim: String
    /// The file to execute and its words.
    let path: String
    let words: [[UInt8]]

    /// Checks everything that can be checked before anything is started.
    public init(_ options: LaunchOptions) throws(LaunchError) {
        self.options = options
        let target = try Target(search: SearchPath(folders: getenv("PATH").map { String(cString: $0) }))
            .check(options.command)
        (path, words) =
            target.needsShell
            ? ("/bin/sh", [Array("/bin/sh".utf8), Array(target.path.utf8)] + options.words.dropFirst())
            : (target.path, options.words)
        shim = try Preload.path(of: try system { () throws(SystemError) in try NativeFiles.shim() })
        access = try wire { () throws(WireError) in try CoordinatorAccess(options.parsed) }
    }

    /// Becomes the program, or with `--auto` its supervisor. Returns only in the second case, with the exit status.
    public func run() throws(LaunchError) -> Int32 {
        if options.parsed.flag("auto") { return try runAutomatically() }
        // A computation of its own at whatever coordinator: sets of several processes cannot be restarted yet.
        let launch = announcement(pid: getpid(), computation: ComputationIdentifier.random())
        let launched = try wire { () throws(WireError) in try access.announce(launch) }
        let error = execute(environment(computation: launched.computation, autoSignals: []))
        throw LaunchError(SystemError(-error, "execute", path))
    }

    /// What the coordinator is told before the program starts.
    func announcement(pid: Int32, computation: String) -> Launch {
        var launch = Launch()
        launch.pid = UInt32(pid)
        launch.keep = UInt32(options.parsed.count("keep") ?? 0)
        launch.snapshot = snapshot
        launch.compression = compression
        launch.ioLimit = UInt32(options.parsed.count("io-limit") ?? 0)
        launch.incremental = incremental
        launch.checkpointFlags = checkpointFlags
        launch.interval = options.parsed.microseconds("interval")
        launch.name = options.programName
        launch.computation = computation
        launch.checkpointDirectory = options.checkpointDirectory
        launch.command = options.parsed.operands
        launch.directory = options.workingDirectory
        return launch
    }

    private var snapshot: SnapshotMode {
        switch options.parsed.value("snapshot") {
        case "precopy": .precopy
        case "cow": .copyOnWrite
        case "stop": .stop
        default: .auto
        }
    }

    /// As `scp_checkpoint_order` has it; the parser has checked the level.
    private var compression: UInt32 {
        let words = (options.parsed.value("compress") ?? "none").split(separator: ":")
        let kinds = ["lz4": SCP_COMPRESSION_LZ4, "zstd": SCP_COMPRESSION_ZSTD, "auto": SCP_COMPRESSION_AUTO]
        let kind = words.first.flatMap { kinds[String($0)] } ?? SCP_COMPRESSION_NONE
        return kind.rawValue | (words.dropFirst().first.flatMap { UInt32($0) } ?? 0) << 8
    }

    /// As `scp_checkpoint_order` has it. By default without the flag that the user wants it so.
    private var incremental: UInt32 {
        if options.parsed.flag("no-incremental") { return 0 }
        guard options.parsed.flag("incremental") else { return SCP_INCREMENTAL_DEFAULT }
        return SCP_INCREMENTAL_ASKED | UInt32(options.parsed.count("incremental") ?? Int(SCP_INCREMENTAL_DEFAULT))
    }

    private var checkpointFlags: UInt32 {
        (options.parsed.flag("ckpt-open-files") ? SCP_CHECKPOINT_OPEN_FILES.rawValue : 0)
            | (options.parsed.value("outside") == "refuse" ? SCP_CHECKPOINT_REFUSE_OUTSIDE.rawValue : 0)
    }

    func environment(computation: String, autoSignals: [Int32]) -> ProgramEnvironment {
        var environment = ProgramEnvironment.inherited()
        let settings = ProgramEnvironment.Settings(
            coordinator: access.address.description, computation: computation,
            checkpointDirectory: options.checkpointDirectory, signal: options.quiesceSignal, autoSignals: autoSignals,
            streams: ProgramEnvironment.Settings.ownStreams())
        environment.apply(settings, shim: shim)
        return environment
    }

    /// execve(2); returns -errno. Nothing is open that is not close-on-exec, and no signal was touched.
    private func execute(_ environment: ProgramEnvironment) -> Int32 {
        path.withCString { path in
            withWords(words) { words in environment.withPointers { scp_execute(path, words, $0) } }
        }
    }
}

/// Runs a body whose failure on the wire becomes a `LaunchError`.
func wire<Value>(_ body: () throws(WireError) -> Value) throws(LaunchError) -> Value {
    do throws(WireError) { return try body() } catch { throw LaunchError(error.text, status: error.exitStatus) }
}
