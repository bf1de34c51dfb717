import Formats
import ImageFormat
import SystemCalls
import Wire

/// A process that is connected.
struct Worker: Equatable {
    let connection: ConnectionID
    /// As this host sees it; 0 when it cannot be seen from here.
    let pid: Int32
    let hello: Hello

    /// For sentences: `process 123 (counter)`.
    var label: String { "process \(pid == 0 ? Int32(bitPattern: hello.ownPid) : pid) (\(hello.name))" }
}

/// Processes that are on their way: started by launch or restart, or gone from their connection while they live on,
/// as exec does it.
struct Announcement: Equatable {
    enum Reason: Equatable { case launch, restart, exec }
    /// Who is watched: the process itself, or swiftcp_restart. 0 = nobody.
    let pid: Int32
    let name: String
    let reason: Reason
    /// As it sees itself; 0 = not known.
    var ownPid: UInt32 = 0
    /// It starts the computation.
    var isRoot = false
    /// When its connection went.
    var since: Instant?
    /// How many are still to say HELLO.
    var missing: UInt32

    var label: String { "process \(pid) (\(name))" }
}

/// Why a checkpoint is made.
enum Want: Equatable {
    case request(RequestID)
    /// The program itself asked.
    case ask(ConnectionID)
    /// `--auto`: the program ends after it.
    case askAndEnd(ConnectionID)
    case interval
}

struct RequestID: Hashable { let number: UInt64 }

/// A checkpoint under way.
struct RunningCheckpoint {
    enum Phase: Equatable {
        /// Waiting for announced processes.
        case gathering
        /// Everybody runs: what could not be saved may be gone in a moment. The deadline says when it is begun again.
        case pausing
        /// The folder is being made.
        case preparing
        /// Waiting until every member has reported this stage.
        case stage(Stage)
        /// What the members share is being compared.
        case numbering
        /// The manifest is being written.
        case committing
    }

    struct Member {
        let worker: Worker
        let image: String
        var report: StageReport?
        var children: Children?
        var survey: [SurveyEntry] = []
        var snapshotReason = ""
        /// Generations that its image needs, ascending.
        var needed: [UInt32] = []
        /// Generations that have made file pages that its image needs.
        var filePages: [UInt32] = []
        /// It ended, or replaced its program, with its image complete but perhaps not durable.
        var endedUnsynced = false
        var reached: Stage { report?.stage ?? .running }
        /// It stops only when it is told that all are prepared.
        var waitsForStart = false
    }

    var wants: [Want]
    var phase = Phase.gathering
    var generation: UInt32 = 0
    var folder = ""
    var partial = ""
    /// Threads stay parked, the end follows.
    var staysStopped = false
    var members: [ConnectionID: Member] = [:]
    /// Members that prepare, and those that are to, last one first: nobody stops before all have.
    var preparing: Set<ConnectionID> = []
    var unordered: [ConnectionID] = []
    /// Everybody has been told to stop, or need not be.
    var hasStarted = false
    /// How many members have not reported the stage yet.
    var waiting = 0
    /// Processes that were in an exec when the checkpoint was wanted: they are waited for before anybody is stopped.
    var executing: Set<Int32> = []
    /// The look at what they run now that is under way, and when the next one is due.
    var inspecting: DiskToken?
    var nextInspection: Instant?
    /// How often it was begun again since a process went too early.
    var retries = 0
    /// How often a process has asked for another attempt.
    var attempts = 0
    /// Who belongs to the computation, is not connected and keeps the set of members open.
    var strays = StrayWatch()
    /// Members in the order of their rights, while they are compared.
    var numbered: [ConnectionID] = []
    let started: Moment
    var deadline: Instant
    /// Processes that are stopped and led by a tracer, each with the signal that has stopped it.
    var stoppedBy: [Int32: UInt32] = [:]
    /// These, as the program sees them.
    var stoppedPids: Set<UInt32> {
        Set(members.values.lazy.map(\.worker).filter { stoppedBy[$0.pid] != nil }.map(\.hello.ownPid))
    }
    /// When it is looked who has been stopped meanwhile, of those that keep a stage waiting, and seconds from look to look.
    var nextStopLook: Instant?
    var stopPace = Self.firstStopPace
    /// `waiting` when it was last thought of: while members report nobody need be looked at.
    var waitingBefore = 0
    static let firstStopPace = 0.1
    /// Bytes in the images when their progress was last looked at.
    var progress: UInt64 = 0

    /// Generations that its images need, ascending.
    var needed: [UInt32] { Set(members.values.flatMap(\.needed)).sorted() }
    /// Names of the file pages in the generation's folder that the images need.
    var filePages: [String] {
        Set(members.values.flatMap(\.filePages)).map {
            $0 == generation ? CheckpointNames.filePages : CheckpointNames.earlierFilePages($0)
        }.sorted()
    }
}

/// Processes that were found outside a checkpoint to which they belong.
struct StrayWatch {
    struct Entry {
        let stray: Stray
        /// When it was seen first.
        let since: Instant
    }
    var entries: [Int32: Entry] = [:]
    /// The look that is under way.
    var scanning: DiskToken?
    /// When the next one is due.
    var next: Instant?
    /// Seconds until then.
    var pace = Self.quickest

    static let quickest = 0.002
    static let slowest = 0.05
}

/// The order to end all processes.
struct Ending {
    var requests: [RequestID] = []
    var deadline: Instant
    /// SIGKILL has been sent.
    var escalated = false
    /// Nobody is left who was born too late to hear the order.
    var isSwept = false
    /// The look for such is under way.
    var sweeping: DiskToken?
    /// When it is to be repeated, since somebody could not be told.
    var nextSweep: Instant?
    var sweeps = 0
}

/// Processes that are checkpointed together.
struct Computation {
    let id: String
    /// In the order of their birth.
    let serial: UInt64
    var name: String
    var command: [String] = []
    var directory = ""
    var checkpointDirectory: String
    /// Processes that were stopped before they could connect, as the last attempt of a checkpoint has found them.
    var stoppedNewborn: [Int32] = []
    var keep: UInt32
    var snapshot = SnapshotMode.auto
    var checkpointFlags: UInt32 = 0
    var compression: UInt32 = 0
    var ioLimit: UInt32 = 0
    var incremental: UInt32 = 0
    /// Seconds, 0 = never.
    var interval: Double
    /// Differs for every launch and every restart: who owns the folder.
    var incarnation: String
    /// The folder has been marked as ours.
    var ownsFolder = false
    /// Its settings are being looked for.
    var recalling: DiskToken?
    /// Only the root is to be taken over from them.
    var recallsRootAlone = false
    /// The process that swiftcp_launch started, by its own pid; 0 = not known.
    var root: UInt32 = 0
    /// It was known, and has ended.
    var rootHasEnded = false
    /// The highest generation number known or used, complete or not.
    var highestGeneration: UInt32 = 0

    var workers: [ConnectionID: Worker] = [:]
    /// Their connections by the pid they see themselves.
    var byOwnPid: [UInt32: ConnectionID] = [:]
    var announced: [Announcement] = []
    var checkpoint: RunningCheckpoint?
    /// Wants that came while a checkpoint was under way: the next one serves them all.
    var queue: [Want] = []
    var ending: Ending?
    var last: CheckpointReply?
    var nextInterval: Instant?
    /// Since when it has had no process.
    var endedAt: Instant?

    init(
        id: String, serial: UInt64, name: String, checkpointDirectory: String, keep: UInt32, interval: Double,
        incarnation: String
    ) {
        (self.id, self.serial, self.name, self.incarnation) = (id, serial, name, incarnation)
        (self.checkpointDirectory, self.keep, self.interval) = (checkpointDirectory, keep, interval)
    }

    var isAlive: Bool {
        !workers.isEmpty || !announced.isEmpty || ending?.sweeping != nil || ending?.nextSweep != nil
    }

    /// No process is left, or all have been told to end; they are not known to have gone yet.
    var isAboutToEnd: Bool { ending != nil || workers.isEmpty && announced.allSatisfy { $0.reason == .exec } }

    var isExecuting: Bool { announced.contains { $0.reason == .exec } }

    /// Every process before its children.
    var parentsFirst: [Worker] {
        var children: [UInt32: [Worker]] = [:]
        var line: [Worker] = []
        for worker in workersInOrder {
            let parent = worker.hello.ownParent
            if parent != worker.hello.ownPid, byOwnPid[parent] != nil {
                children[parent, default: []].append(worker)
            } else {
                line.append(worker)
            }
        }
        var next = 0
        while next < line.count {
            line += children.removeValue(forKey: line[next].hello.ownPid) ?? []
            next += 1
        }
        return line + children.values.joined()  // what claims to be its own ancestor
    }

    /// In the order they came.
    var workersInOrder: [Worker] { workers.values.sorted { $0.connection < $1.connection } }
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
