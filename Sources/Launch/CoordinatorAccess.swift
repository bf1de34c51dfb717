import CSwiftCP
import Glibc
import Options
import SystemCalls
import Wire

/// Finds the coordinator at an address, or starts one there in the background.
///
/// Two commands that start one at the same time end with one: the second `swiftcp_coordinator` finds the address taken
/// and gives up, and both commands connect to the first.
public struct CoordinatorAccess: Sendable {
    public enum Choice: Sendable {
        /// There must be one (exit status 3).
        case join
        /// There must be none.
        case new
        /// Join it, else start one that ends with its last process.
        case any
    }

    public let address: Address
    let choice: Choice
    /// Seconds a started coordinator has until it listens.
    let startLimit: Double
    /// Seconds that a computation may take to end.
    private let endLimit = 10.0

    /// - Parameter address: nil = the user's standard address.
    public init(address: Address?, choice: Choice, startLimit: Double = 10) throws(WireError) {
        // Not `??`: its right side could not throw a typed error.
        if let address {
            self.address = try address.absolute()
        } else {
            self.address = try Address.standard()
        }
        self.choice = choice
        self.startLimit = startLimit
    }

    /// As the options `--coordinator`, `-j`, `--new-coordinator`, `--any-coordinator` say.
    public init(_ parsed: Parsed) throws(WireError) {
        let address: Address? = if let text = parsed.value("coordinator") { try Address(text) } else { nil }
        let choice: Choice =
            switch parsed.chosen("coordinator") {
            case "join-coordinator": .join
            case "new-coordinator": .new
            default: .any
            }
        try self.init(address: address, choice: choice)
    }

    /// A connection to the coordinator, which is started first where the choice allows it.
    ///
    /// - Throws: `WireError` of the kind `noCoordinator` (exit status 3) when there is none and none may be started.
    ///
    /// - Parameter prepared: is opened then, if there is one.
    public func connect(_ prepared: PreparedCoordinator? = nil) throws(WireError) -> Connection {
        if choice == .new { return try start(prepared, mustBeFirst: true) }
        do throws(WireError) { return try Connection(address) } catch {
            guard choice == .any, error.kind == .noCoordinator else { throw error }
        }
        return try start(prepared, mustBeFirst: false)
    }

    /// Connects and announces a process. A coordinator that ends just then (its last process had gone) is replaced; a
    /// computation of that name that ends just then is waited for.
    public func announce(
        _ launch: Launch, _ prepared: PreparedCoordinator? = nil
    ) throws(WireError) -> Launched {
        let deadline = Instant.now.advanced(seconds: endLimit)
        for attempt in 1... {
            var connection = try connect(prepared)
            do throws(WireError) { return try connection.announce(launch) } catch {
                switch error.kind {
                case .closed where choice == .any && attempt < 5: break
                case .busy where Instant.now < deadline: _ = poll(nil, 0, 20)
                default: throw error
                }
            }
        }
        preconditionFailure("the loop above ends by returning or throwing")
    }

    /// Starts one and connects. When another one has the address, that one may be about to listen, or about to end:
    /// connecting and starting are tried in turn.
    private func start(_ prepared: PreparedCoordinator?, mustBeFirst: Bool) throws(WireError) -> Connection {
        let deadline = Instant.now.advanced(seconds: startLimit)
        while true {
            let (status, messages) = try runCoordinator(prepared, until: deadline)
            if status == 0 { return try Connection(address) }
            let reason = messages.isEmpty ? "it ended with status \(status)" : messages
            let isTaken = messages.contains(SystemError.reason(EADDRINUSE))
            do throws(WireError) {
                if !mustBeFirst { return try Connection(address) }
            } catch {
                guard error.kind == .noCoordinator else { throw error }
                if isTaken, Instant.now < deadline {
                    _ = poll(nil, 0, 20)
                    continue
                }
            }
            let kind: WireError.Kind = mustBeFirst ? .refused : .noCoordinator
            throw WireError(kind, "cannot start a coordinator at \(address): \(reason)")
        }
    }
}

extension CoordinatorAccess {
    /// Runs `swiftcp_coordinator --daemon`, which returns when its background process listens.
    private func runCoordinator(
        _ prepared: PreparedCoordinator?, until deadline: Instant
    ) throws(WireError) -> (status: Int32, messages: String) {
        do throws(SystemError) {
            if let result = try prepared?.open(until: deadline) { return result }
        } catch { throw WireError(error) }
        let (path, words) = try coordinatorWords()
        do throws(SystemError) {
            let messages = try Self.messagePipe()
            let pid = try Self.spawn(path, words, input: -1, messages: messages.writing.raw)
            let status = try Self.waitForEnd(of: pid, until: deadline)
            return (status, Self.lastLine(messages.reading))
        } catch { throw WireError(error) }
    }

    func coordinatorWords() throws(WireError) -> (path: String, words: [[UInt8]]) {
        let path = try InstalledProgram.path("swiftcp_coordinator")
        let words = [path, "--daemon", "--exit-on-last", "--coordinator", address.description]
        return (path, words.map { Array($0.utf8) })
    }

    static func messagePipe() throws(SystemError) -> DescriptorPair {
        let messages = try OwnedDescriptor.pipe()
        try messages.reading.setNonBlocking(true)
        return messages
    }

    /// - Parameter input: its gate, or -1.
    static func spawn(
        _ path: String, _ words: [[UInt8]], input: Int32, messages: Int32
    ) throws(SystemError) -> Int32 {
        var environment = ProgramEnvironment.inherited()
        // A coordinator is not part of the computation that happens to start it.
        environment.set("LD_PRELOAD", environment.preloadsWithoutShim)
        environment.set(SCP_ENV_COMPUTATION, nil)
        environment.set(SCP_ENV_GATE, input < 0 ? nil : "1")
        let pid = path.withCString { path in
            withWords(words) { words in
                environment.withPointers { variables in
                    var order = scp_start()
                    (order.path, order.arguments, order.environment) = (path, words, variables)
                    (order.gate, order.opener, order.report) = (-1, -1, -1)
                    (order.detached, order.input, order.messages) = (1, input, messages)
                    return scp_start(&order)
                }
            }
        }
        return try check(pid, "start", path)
    }

    static func waitForEnd(of pid: Int32, until deadline: Instant) throws(SystemError) -> Int32 {
        while true {
            var state = scp_child()
            try check(scp_child_state(pid, &state), "wait for", "swiftcp_coordinator")
            if state.event == SCP_CHILD_EXITED.rawValue { return state.value }
            if state.event == SCP_CHILD_SIGNALED.rawValue { return 128 + state.value }
            if Instant.now >= deadline {
                kill(pid, SIGKILL)
                throw SystemError(ETIMEDOUT, "start", "a coordinator", hint: "is the machine overloaded?")
            }
            scp_child_await_end(pid, deadline.millisecondsLeft)
        }
    }

    /// What the coordinator said on stderr, its name taken off; "" when it said nothing.
    static func lastLine(_ reading: borrowing OwnedDescriptor) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(reading.raw, &buffer, buffer.count)
        let text = String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
        let line = text.split(separator: "\n").last.map(String.init) ?? ""
        let prefix = "swiftcp_coordinator: "
        return line.hasPrefix(prefix) ? String(line.dropFirst(prefix.count)) : line
    }
}

/// The other commands of this installation.
public enum InstalledProgram {
    /// The path of a command: beside this program, in its `../bin`, or in PATH.
    public static func path(_ name: String) throws(WireError) -> String {
        let folder = (try? Processes.executable()).map(Path.parent) ?? "."
        let beside = [folder + "/" + name, folder + "/../bin/" + name]
        if let found = beside.first(where: { access($0, X_OK) == 0 }) { return found }
        if let found = try? SearchPath(folders: Environment.value("PATH")).resolve(name) { return found }
        throw WireError(.system, "cannot start \(name): it is neither in \(folder) nor in PATH; install SwiftCP again")
    }
}
