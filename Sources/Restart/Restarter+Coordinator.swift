import CSwiftCP
import ImageFormat
import Launch
import Options
import SystemCalls
import Wire

// What the coordinator is told of a restart.

extension Restarter {
    private var selection: Selection { self.set.selection }
    private var root: Image { self.set.rootImage }

    /// Whether the computation has a process at the coordinator.
    static func hasJoined(_ address: String, _ computation: String) -> Bool {
        do throws(WireError) {
            var connection = try Connection(try Address(address))
            let text = try connection.ask(Request(.status, computation: computation), limit: 2)
            return text.contains("\"own_pid\"")
        } catch {
            return false
        }
    }

    /// The coordinator expects restarted processes for as long as this one lives: their pids do not exist yet.
    func announcement() -> Wire.Launch {
        var launch = Wire.Launch()
        launch.pid = selection.manifest?.root ?? 0
        launch.restart = true
        launch.processes = UInt32(set.images.count)
        launch.generation = newestGeneration()
        let settings = computationFolder.flatMap(ComputationSettings.read)
        launch.interval = options.parsed.microseconds("interval") ?? settings?.interval
        launch.keep = settings?.keep ?? 0
        launch.checkpointFlags = root.header.checkpoint_flags & SCP_CHECKPOINT_BY_USER.rawValue
        launch.compression = root.header.compression
        launch.snapshot = SnapshotMode(rawValue: root.header.snapshot) ?? .auto
        launch.ioLimit = root.header.io_limit
        launch.incremental = root.header.incremental
        launch.name = selection.manifest?.computation.name ?? root.string(root.process.command)
        launch.computation = root.string(root.header.computation)
        launch.checkpointDirectory = checkpointDirectory()
        launch.command = selection.manifest?.computation.command ?? []
        launch.directory = selection.manifest?.computation.directory ?? root.string(root.process.directory)
        return launch
    }

    /// The folder of the computation, when the image still is in one.
    private var computationFolder: String? {
        guard let folder = selection.folder, let absolute = try? Files.realPath(folder) else { return nil }
        let parent = Path.parent(absolute)
        return Path.name(parent).hasPrefix("ckpt_") ? parent : nil
    }

    private func newestGeneration() -> UInt32 {
        let inFolder = computationFolder.flatMap { try? ComputationFolder(path: $0).generations().last?.number }
        return max(inFolder ?? 0, root.header.generation)
    }

    /// Where later checkpoints go: `--ckptdir`, else where this one is.
    func checkpointDirectory() -> String {
        if let wanted = options.parsed.value("ckptdir") {
            try? Files.makeDirectories(wanted)
            return (try? Files.realPath(wanted)) ?? wanted
        }
        if let folder = computationFolder { return Path.parent(folder) }
        let image = (try? Files.realPath(root.path)) ?? root.path
        return Path.parent(image)
    }
}
