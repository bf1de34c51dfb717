// What the coordinator answers to a request: the JSON object of the contract. Times are seconds or milliseconds as the
// key says, sizes are bytes.

public struct CoordinatorReply: Codable, Equatable, Sendable {
    public var address: String
    public var pid: Int32
    public var uptime_s: Double
    /// Between automatic checkpoints of computations that do not say otherwise; 0 = never.
    public var interval_s: Double

    public init(address: String, pid: Int32, uptime_s: Double, interval_s: Double) {
        (self.address, self.pid, self.uptime_s, self.interval_s) = (address, pid, uptime_s, interval_s)
    }
}

public struct ProcessReply: Codable, Equatable, Sendable {
    /// As the coordinator's host sees it.
    public var pid: Int32
    /// As the program sees it.
    public var own_pid: UInt32
    public var name: String
    public var host: String
    /// running, sleeping, waiting (uninterruptible), stopped, zombie or gone.
    public var state: String
    public var threads: Int
    public var resident_bytes: UInt64
    public var computation: String

    public init(pid: Int32, own_pid: UInt32, name: String, host: String, computation: String) {
        (self.pid, self.own_pid, self.name, self.host) = (pid, own_pid, name, host)
        (state, threads, resident_bytes) = ("gone", 0, 0)
        self.computation = computation
    }
}

public struct CheckpointReply: Codable, Equatable, Sendable {
    public var generation: UInt32
    /// The generation's folder; nil when it failed.
    public var path: String?
    public var ok: Bool
    /// ISO 8601, UTC.
    public var started_at: String
    public var pause_ms: Double
    public var duration_ms: Double
    public var bytes_written: UInt64
    public var processes: Int
    public var snapshot: String
    /// Why the instant was taken that way.
    public var snapshot_reason: String?
    public var incremental: Bool
    /// Why it failed.
    public var error: String?

    public init(
        generation: UInt32, path: String?, ok: Bool, started_at: String, pause_ms: Double, duration_ms: Double,
        bytes_written: UInt64, processes: Int, snapshot: String, incremental: Bool = false, error: String? = nil
    ) {
        (self.generation, self.path, self.ok, self.started_at) = (generation, path, ok, started_at)
        (self.pause_ms, self.duration_ms) = (pause_ms, duration_ms)
        (self.bytes_written, self.processes, self.snapshot) = (bytes_written, processes, snapshot)
        (self.incremental, self.error) = (incremental, error)
    }

    private enum CodingKeys: String, CodingKey {
        case generation, path, ok, started_at, pause_ms, duration_ms, bytes_written, processes, snapshot, incremental
        case snapshot_reason, error
    }

    /// `path` is always there, if only as null.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(generation, forKey: .generation)
        try values.encode(path, forKey: .path)
        try values.encode(ok, forKey: .ok)
        try values.encode(started_at, forKey: .started_at)
        try values.encode(pause_ms, forKey: .pause_ms)
        try values.encode(duration_ms, forKey: .duration_ms)
        try values.encode(bytes_written, forKey: .bytes_written)
        try values.encode(processes, forKey: .processes)
        try values.encode(snapshot, forKey: .snapshot)
        try values.encodeIfPresent(snapshot_reason, forKey: .snapshot_reason)
        try values.encode(incremental, forKey: .incremental)
        try values.encodeIfPresent(error, forKey: .error)
    }
}

/// A checkpoint under way: how far it is, in all processes together.
public struct ProgressReply: Codable, Equatable, Sendable {
    public var generation: UInt32
    /// Reached by all: running, quiesced, surveyed, examined, snapshotted, written.
    public var stage: String
    public var elapsed_ms: Double
    public var processes: Int
    /// Bytes in the images so far, and about how many there will be: what the processes have in memory (less when it is
    /// compressed, or zero).
    public var bytes_written: UInt64 = 0
    public var bytes_expected: UInt64 = 0
    /// Where the images are made.
    public var path: String

    public init(generation: UInt32, stage: String, elapsed_ms: Double, processes: Int, path: String) {
        (self.generation, self.stage, self.elapsed_ms) = (generation, stage, elapsed_ms)
        (self.processes, self.path) = (processes, path)
    }
}

/// One computation, or what a request came to for it.
public struct ComputationReply: Codable, Equatable, Sendable {
    public var id: String
    public var name: String
    public var checkpoint_directory: String
    /// running or checkpointing.
    public var state: String
    public var interval_s: Double
    /// Pids of its processes as the coordinator's host sees them.
    public var pids: [Int32]
    public var last_checkpoint: CheckpointReply?
    /// While one is made.
    public var progress: ProgressReply?
    /// Why the request failed for this one.
    public var error: String?

    public init(
        id: String, name: String, checkpoint_directory: String, state: String, interval_s: Double, pids: [Int32],
        last_checkpoint: CheckpointReply?, error: String? = nil
    ) {
        (self.id, self.name, self.checkpoint_directory) = (id, name, checkpoint_directory)
        (self.state, self.interval_s, self.pids) = (state, interval_s, pids)
        (self.last_checkpoint, self.error) = (last_checkpoint, error)
    }
}

public struct CommandReply: Codable, Equatable, Sendable {
    public static let currentSchema = 1

    public var schema_version = Self.currentSchema
    public var command: String
    /// "ok" or "error".
    public var status: String
    public var error: String?
    public var coordinator: CoordinatorReply?
    /// The id, when there is exactly one.
    public var computation: String?
    public var processes: [ProcessReply]?
    /// Of all computations the latest.
    public var last_checkpoint: CheckpointReply?
    /// What a checkpoint request came to, the latest if there were several.
    public var checkpoint: CheckpointReply?
    public var computations: [ComputationReply] = []

    public init(command: String, error: String? = nil) {
        self.command = command
        self.error = error
        status = error == nil ? "ok" : "error"
    }

    private enum CodingKeys: String, CodingKey {
        case schema_version, command, status, error, coordinator, computation, processes, last_checkpoint, checkpoint
        case computations
    }

    /// Keys that the contract promises for a command are there, if only as null.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(schema_version, forKey: .schema_version)
        try values.encode(command, forKey: .command)
        try values.encode(status, forKey: .status)
        try values.encodeIfPresent(error, forKey: .error)
        try values.encodeIfPresent(coordinator, forKey: .coordinator)
        try values.encode(computation, forKey: .computation)
        if let processes {
            try values.encode(processes, forKey: .processes)
            try values.encode(last_checkpoint, forKey: .last_checkpoint)
        }
        if command.hasSuffix("checkpoint") { try values.encode(checkpoint, forKey: .checkpoint) }
        try values.encode(computations, forKey: .computations)
    }
}
