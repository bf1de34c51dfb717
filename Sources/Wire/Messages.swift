import CSwiftCP

// One value type for each message of swiftcp_protocol.h. What a field means stands there.

/// A stage of a checkpoint, in order.
public enum Stage: UInt32, Comparable, Sendable, CaseIterable {
    case running = 0
    case quiesced, surveyed, snapshotted, written, committed

    public static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }

    public var name: String {
        switch self {
        case .running: "running"
        case .quiesced: "quiesced"
        case .surveyed: "surveyed"
        case .snapshotted: "snapshotted"
        case .written: "written"
        case .committed: "committed"
        }
    }

    public var next: Stage? { Stage(rawValue: rawValue + 1) }
}

public enum SnapshotMode: UInt32, Sendable {
    case auto = 0
    case precopy, copyOnWrite, stop

    /// As the contract spells it.
    public var name: String {
        switch self {
        case .auto: "auto"
        case .precopy: "precopy"
        case .copyOnWrite: "cow"
        case .stop: "stop"
        }
    }
}

public struct Hello: Equatable, Sendable {
    public var ownPid: UInt32
    public var ownParent: UInt32
    public var restarted: Bool
    public var generation: UInt32
    public var name: String
    public var computation: String
    public var checkpointDirectory: String

    public init(
        ownPid: UInt32, ownParent: UInt32 = 1, restarted: Bool = false, generation: UInt32 = 0, name: String,
        computation: String, checkpointDirectory: String
    ) {
        (self.ownPid, self.ownParent) = (ownPid, ownParent)
        (self.restarted, self.generation) = (restarted, generation)
        (self.name, self.computation, self.checkpointDirectory) = (name, computation, checkpointDirectory)
    }
}

/// `error` 0, or an errno value: the worker is refused.
public struct Welcome: Equatable, Sendable {
    public var error: UInt32
    public var text: String

    public init(error: UInt32 = 0, text: String = "") { (self.error, self.text) = (error, text) }
}

public struct CheckpointOrder: Equatable, Sendable {
    public var generation: UInt32
    /// `SCP_CHECKPOINT_*`.
    public var flags: UInt32
    /// Milliseconds.
    public var stageLimit: UInt32
    /// Milliseconds.
    public var quiesceLimit: UInt32
    public var snapshot = SnapshotMode.auto
    /// `SCP_COMPRESSION_*`, level times 256.
    public var compression: UInt32 = 0
    /// MB/s, 0 = none.
    public var ioLimit: UInt32 = 0
    /// `SCP_INCREMENTAL_*`, 0 = every image is a full one.
    public var incremental: UInt32 = 0
    /// The signal that has stopped the process, whose threads a tracer leads (`swiftcp_tracer.h`); 0: it is not stopped.
    public var stoppedBy: UInt32 = 0
    /// How many of the computation's processes are stopped.
    public var stoppedAmong: UInt32 = 0
    /// The image to create, absolute.
    public var path: String

    public init(generation: UInt32, flags: UInt32 = 0, stageLimit: UInt32, quiesceLimit: UInt32, path: String) {
        (self.generation, self.flags) = (generation, flags)
        (self.stageLimit, self.quiesceLimit, self.path) = (stageLimit, quiesceLimit, path)
    }
}

public struct StageReport: Equatable, Sendable {
    public var stage: Stage
    public var generation: UInt32
    /// Nanoseconds.
    public var pause: UInt64
    public var bytesWritten: UInt64
    public var memoryBytes: UInt64
    public var metadataChecksum: UInt64
    public var threads: UInt32
    public var regions: UInt32
    public var descriptors: UInt32
    public var snapshot: SnapshotMode

    public init(
        stage: Stage, generation: UInt32, pause: UInt64 = 0, bytesWritten: UInt64 = 0, memoryBytes: UInt64 = 0,
        metadataChecksum: UInt64 = 0, threads: UInt32 = 0, regions: UInt32 = 0, descriptors: UInt32 = 0,
        snapshot: SnapshotMode = .stop
    ) {
        (self.stage, self.generation, self.pause) = (stage, generation, pause)
        (self.bytesWritten, self.memoryBytes, self.metadataChecksum) = (bytesWritten, memoryBytes, metadataChecksum)
        (self.threads, self.regions, self.descriptors) = (threads, regions, descriptors)
        self.snapshot = snapshot
    }
}

/// What a worker's image needs beside itself; never nothing.
public struct Ancestors: Equatable, Sendable {
    public var generation: UInt32
    /// Generations, ascending, each lower than `generation`.
    public var needed: [UInt32]
    /// Those that have made the file pages in its folder that it leads to, ascending, `generation` at most.
    public var filePages: [UInt32]

    public init(generation: UInt32, needed: [UInt32], filePages: [UInt32] = []) {
        (self.generation, self.needed, self.filePages) = (generation, needed, filePages)
    }
}

public struct StageGo: Equatable, Sendable {
    public var stage: Stage
    public var generation: UInt32
    /// Members of the checkpoint.
    public var processes: UInt32

    public init(stage: Stage, generation: UInt32, processes: UInt32 = 1) {
        (self.stage, self.generation, self.processes) = (stage, generation, processes)
    }
}

/// A child of a quiesced process.
public struct ChildProcess: Equatable, Sendable {
    /// As its parent sees it.
    public var pid: UInt32
    /// It has ended and waits to be waited for.
    public var isZombie: Bool

    public init(pid: UInt32, isZombie: Bool = false) { (self.pid, self.isZombie) = (pid, isZombie) }
}

/// What a quiesced process knows of its children.
public struct Children: Equatable, Sendable {
    public var generation: UInt32
    /// This process, or the one it is a fork of, ever had a child: there may be descendants that are nobody's child here.
    public var hasForked: Bool
    public var processes: [ChildProcess]

    public init(generation: UInt32, hasForked: Bool = false, processes: [ChildProcess] = []) {
        (self.generation, self.hasForked, self.processes) = (generation, hasForked, processes)
    }
}

/// Something that a process holds and another one may hold too.
public struct SurveyEntry: Equatable, Sendable {
    public enum Kind: UInt32, Sendable { case description = 1, memory = 2 }
    public var kind: Kind
    /// A descriptor of the process's main thread; -1 for memory.
    public var number: Int32
    public var device: UInt64
    public var inode: UInt64
    /// Bytes, of memory.
    public var offset: UInt64
    /// Bytes, of memory.
    public var length: UInt64

    public init(description number: Int32, device: UInt64, inode: UInt64) {
        (kind, self.number, self.device, self.inode, offset, length) = (.description, number, device, inode, 0, 0)
    }

    public init(memory inode: UInt64, device: UInt64, offset: UInt64, length: UInt64) {
        (kind, number) = (.memory, -1)
        (self.device, self.inode, self.offset, self.length) = (device, inode, offset, length)
    }

    init(kind: Kind, number: Int32, device: UInt64, inode: UInt64, offset: UInt64, length: UInt64) {
        (self.kind, self.number, self.device, self.inode) = (kind, number, device, inode)
        (self.offset, self.length) = (offset, length)
    }
}

public struct Survey: Equatable, Sendable {
    public var generation: UInt32
    public var entries: [SurveyEntry]

    public init(generation: UInt32, entries: [SurveyEntry]) {
        (self.generation, self.entries) = (generation, entries)
    }
}

/// The coordinator's word about one entry of a survey.
public struct Assigned: Equatable, Sendable {
    /// Equal for the same thing in all processes of the generation, above 0.
    public var identity: UInt64
    /// This process saves the content.
    public var isOwner: Bool
    /// Another member has it too.
    public var isShared: Bool

    public init(identity: UInt64, isOwner: Bool, isShared: Bool) {
        (self.identity, self.isOwner, self.isShared) = (identity, isOwner, isShared)
    }
}

public struct Assignment: Equatable, Sendable {
    public var generation: UInt32
    /// One for each entry of the survey, in its order.
    public var entries: [Assigned]
    /// Children of the process that are stopped, as it sees them: at most as many as its order counts.
    public var stopped: [UInt32]

    public init(generation: UInt32, entries: [Assigned], stopped: [UInt32] = []) {
        (self.generation, self.entries, self.stopped) = (generation, entries, stopped)
    }
}

/// `error` is an errno value, 0 for none.
public struct Text: Equatable, Sendable {
    public var error: Int32
    public var generation: UInt32
    public var text: String

    public init(error: Int32 = 0, generation: UInt32 = 0, text: String = "") {
        (self.error, self.generation, self.text) = (error, generation, text)
    }
}

public struct Ask: Equatable, Sendable {
    public enum Kind: UInt32, Sendable { case checkpoint = 1, checkpointAndEnd = 2 }
    public var kind: Kind
    public var signal: Int32

    public init(kind: Kind, signal: Int32 = 0) { (self.kind, self.signal) = (kind, signal) }
}

public struct Launch: Equatable, Sendable {
    /// Who will say HELLO, as the sender sees it; 0 = unknown.
    public var pid: UInt32 = 0
    /// Become part of the computation that runs at this coordinator.
    public var join = false
    /// `swiftcp_restart` brings the computation back.
    public var restart = false
    public var auto = false
    /// How many will say HELLO.
    public var processes: UInt32 = 1
    /// Restart: the newest generation in the folder.
    public var generation: UInt32 = 0
    /// Complete generations kept, 0 = default.
    public var keep: UInt32 = 0
    public var snapshot: SnapshotMode = .auto
    /// `SCP_CHECKPOINT_*`.
    public var checkpointFlags: UInt32 = 0
    /// Microseconds between automatic checkpoints, 0 = never; nil = as the coordinator has it.
    public var interval: UInt64?
    /// `SCP_COMPRESSION_*`, level times 256.
    public var compression: UInt32 = 0
    /// MB/s, 0 = none.
    public var ioLimit: UInt32 = 0
    /// `SCP_INCREMENTAL_*`, 0 = every image is a full one.
    public var incremental: UInt32 = 0
    public var name = ""
    /// Wanted id; "" = the coordinator makes one.
    public var computation = ""
    /// Absolute.
    public var checkpointDirectory = ""
    /// Words that do not fit 4 KiB are left out, from the last one on.
    public var command: [String] = []
    public var directory = ""

    public init() {}
}

public struct Launched: Equatable, Sendable {
    /// 0 or an errno value.
    public var error: Int32
    public var coordinatorPid: UInt32
    public var computation: String
    public var text: String

    public init(error: Int32 = 0, coordinatorPid: UInt32 = 0, computation: String = "", text: String = "") {
        (self.error, self.coordinatorPid, self.computation, self.text) = (error, coordinatorPid, computation, text)
    }
}

public enum Verb: UInt32, Sendable, CaseIterable {
    case status = 1
    case list, checkpoint, kcheckpoint, interval, kill, quit

    /// As `"command"` in JSON has it.
    public var name: String {
        switch self {
        case .status: "status"
        case .list: "list"
        case .checkpoint: "checkpoint"
        case .kcheckpoint: "kcheckpoint"
        case .interval: "interval"
        case .kill: "kill"
        case .quit: "quit"
        }
    }
}

public struct Request: Equatable, Sendable {
    public var verb: Verb
    public var noWait: Bool
    /// Microseconds; for `interval`.
    public var interval: UInt64
    /// "" = all.
    public var computation: String

    public init(_ verb: Verb, noWait: Bool = false, interval: UInt64 = 0, computation: String = "") {
        (self.verb, self.noWait, self.interval, self.computation) = (verb, noWait, interval, computation)
    }
}

/// Everything that crosses the socket.
public enum Message: Equatable, Sendable {
    case hello(Hello)
    case welcome(Welcome)
    case checkpoint(CheckpointOrder)
    case stage(StageReport)
    case go(StageGo)
    case abort(Text)
    case failed(Text)
    case kill
    case ask(Ask)
    case answer(Text)
    case children(Children)
    case survey(Survey)
    case assignment(Assignment)
    /// Why a worker's memory was taken the way it was.
    case snapshot(Text)
    case ancestors(Ancestors)
    case launch(Launch)
    case launched(Launched)
    case request(Request)
    /// JSON text.
    case reply(String)
}
