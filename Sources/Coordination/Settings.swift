import FoundationEssentials
import Glibc
import SystemCalls
import Wire

/// What a coordinator knows of a computation and its workers do not: kept in the computation's folder, so that a
/// coordinator that is started after another one has died can go on as that one would have.
///
/// It also names the folder's owner: of two copies of a computation (restarted on another machine while the first is
/// merely unreachable) the later one owns the folder, and the earlier one publishes nothing any more.
public struct ComputationSettings: Codable, Equatable, Sendable {
    public static let fileName = ".computation.json"
    static let currentSchema = 1

    public var schema_version = Self.currentSchema
    /// Differs for every launch and every restart.
    public var incarnation: String
    /// Of the coordinator that wrote it.
    public var host: String
    public var name: String
    public var command: [String]
    public var directory: String
    public var keep: UInt32
    /// Between automatic checkpoints; 0 = never.
    public var interval_s: Double
    /// `SCP_SNAPSHOT_*`.
    public var snapshot: UInt32
    /// `SCP_CHECKPOINT_*`.
    public var checkpoint_flags: UInt32
    /// `SCP_COMPRESSION_*`, level times 256; nil = none.
    public var compression: UInt32?
    /// MB/s; nil = none.
    public var io_limit: UInt32?
    /// `SCP_INCREMENTAL_*`; nil = every image is a full one.
    public var incremental: UInt32?
    /// The process that swiftcp_launch started, as it sees itself; nil when it has ended or is not known.
    public var root: UInt32?

    /// nil when the file is absent or of no use; nothing depends on it but what it is for.
    static func read(_ folder: String) -> ComputationSettings? {
        guard let bytes = try? Files.read(folder + "/" + fileName, limit: 1 << 20),
            let settings = try? JSONDecoder().decode(ComputationSettings.self, from: Data(bytes)),
            settings.schema_version == currentSchema, settings.interval_s >= 0
        else { return nil }
        return settings
    }

    func write(_ folder: String) throws(SystemError) {
        let path = folder + "/" + Self.fileName
        guard let data = try? JSONEncoder().encode(self) else { throw SystemError(EINVAL, "write", path) }
        try Files.write(Array(data), to: path + ".tmp")
        try Files.rename(path + ".tmp", to: path)
    }
}

extension Computation {
    func settings(host: String) -> ComputationSettings {
        ComputationSettings(
            incarnation: incarnation, host: host, name: name, command: command, directory: directory, keep: keep,
            interval_s: interval, snapshot: snapshot.rawValue, checkpoint_flags: checkpointFlags,
            compression: compression, io_limit: ioLimit, incremental: incremental, root: root == 0 ? nil : root)
    }

    /// Takes over what an earlier coordinator knew.
    mutating func adopt(_ settings: ComputationSettings) {
        (name, command, directory) = (settings.name, settings.command, settings.directory)
        (keep, interval) = (settings.keep, settings.interval_s)
        snapshot = SnapshotMode(rawValue: settings.snapshot) ?? .auto
        checkpointFlags = settings.checkpoint_flags
        (compression, ioLimit) = (settings.compression ?? 0, settings.io_limit ?? 0)
        incremental = settings.incremental ?? 0
        incarnation = settings.incarnation
        root = settings.root ?? 0
        ownsFolder = true
    }
}
