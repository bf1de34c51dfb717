import FoundationEssentials
import Glibc
import SystemCalls

/// What a coordinator knows of a computation and its workers do not: kept in the computation's folder, so that a
/// coordinator that is started after another one has died can go on as that one would have, and a restart as the launch
/// asked for.
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

    public init(
        incarnation: String, host: String, name: String, command: [String], directory: String, keep: UInt32,
        interval_s: Double, snapshot: UInt32, checkpoint_flags: UInt32, compression: UInt32? = nil,
        io_limit: UInt32? = nil, incremental: UInt32? = nil, root: UInt32? = nil
    ) {
        (self.incarnation, self.host, self.name, self.command) = (incarnation, host, name, command)
        (self.directory, self.keep, self.interval_s, self.snapshot) = (directory, keep, interval_s, snapshot)
        (self.checkpoint_flags, self.compression, self.io_limit) = (checkpoint_flags, compression, io_limit)
        (self.incremental, self.root) = (incremental, root)
    }

    /// Microseconds between automatic checkpoints; nil = never.
    public var interval: UInt64? { interval_s > 0 ? UInt64(min(interval_s, 1e9) * 1e6) : nil }

    /// nil when the file is absent or of no use; nothing depends on it but what it is for.
    public static func read(_ folder: String) -> ComputationSettings? {
        guard let bytes = try? Files.read(folder + "/" + fileName, limit: 1 << 20),
            let settings = try? JSONDecoder().decode(ComputationSettings.self, from: Data(bytes)),
            settings.schema_version == currentSchema, settings.interval_s >= 0
        else { return nil }
        return settings
    }

    public func write(_ folder: String) throws(SystemError) {
        let path = folder + "/" + Self.fileName
        guard let data = try? JSONEncoder().encode(self) else { throw SystemError(EINVAL, "write", path) }
        try Files.write(Array(data), to: path + ".tmp")
        try Files.rename(path + ".tmp", to: path)
    }
}
