import ImageFormat
import SystemCalls
import Wire

/// One connection for its whole life; numbers are never used again.
public struct ConnectionID: Hashable, Comparable, Sendable {
    public let number: UInt64
    public init(_ number: UInt64) { self.number = number }
    public static func < (left: ConnectionID, right: ConnectionID) -> Bool { left.number < right.number }
}

/// Names a disk operation, so that its outcome finds back.
public struct DiskToken: Hashable, Sendable {
    public let number: UInt64
    public init(_ number: UInt64) { self.number = number }
}

/// Who asked.
public enum Requester: Hashable, Sendable {
    case connection(ConnectionID)
    /// The person at the coordinator's terminal.
    case terminal
}

/// Everything that can happen to a coordinator.
public enum Event: Sendable {
    case connected(ConnectionID, PeerCredentials)
    case message(ConnectionID, Message)
    /// The bytes of this connection are no messages (any more).
    case malformed(ConnectionID, WireError)
    case disconnected(ConnectionID)
    /// A watched process has ended, or was not there when the watch was to begin.
    case processEnded(Int32)
    case disk(DiskToken, DiskOutcome)
    /// The tracer that led the stopped processes of this computation has gone: one was continued, or all have ended.
    case continued(String)
    case request(Requester, Request)
    /// `Coordinator.nextDeadline` has come.
    case timer
    /// A signal tells the coordinator to end. A person at its terminal means at once, and the processes run on; a batch
    /// system that sends it to everything means after the processes, which may need a checkpoint first.
    case terminate(signal: Int32, atOnce: Bool)
}

/// What a coordinator wants done.
public enum Effect: Equatable, Sendable {
    case send(ConnectionID, Message)
    /// Close, after what was sent before has gone out.
    case close(ConnectionID)
    /// Answer a request. Who carries this out adds what /proc knows of the processes.
    case reply(Requester, CommandReply)
    case disk(DiskToken, DiskOperation)
    /// Report `processEnded` when the process ends. Watching twice is watching once.
    case watch(Int32)
    /// The stopped processes of this computation are led no more.
    case letGo(String)
    /// SIGKILL to a watched process.
    case destroy(Int32)
    case log(String)
    /// End the coordinator with this status, after all that was sent before has gone out.
    case exit(Int32)
}

/// Work on a computation's folder, and what else has to be looked up outside. All are carried out in the order given.
public enum DiskOperation: Equatable, Sendable {
    /// Which of these processes are stopped by job control or a debugger.
    case findStopped([Int32])
    /// Leads the stopped processes of this computation until `Effect.letGo`.
    case lead(String, [Int32])
    /// Finds the computation's folder (or makes it), removes what earlier attempts left, and makes the folder of a new
    /// generation, above every number that is there and not below `lowest`.
    ///
    /// The folder is marked as this incarnation's; with `owned` it must be already.
    case prepare(directory: String, id: String, lowest: UInt32, settings: ComputationSettings, owned: Bool)
    /// Looks for what an earlier coordinator knew of the computation.
    case recall(directory: String, id: String)
    /// Looks for processes that belong to a computation and are not connected.
    case scan(ScanQuery)
    /// Looks at what programs these processes run now.
    case inspect([Int32])
    /// Finds out what these processes, all of them standing still, have in common. They are in the order of their rights:
    /// the first one that has a thing owns it.
    case assign([SurveyedProcess])
    /// Bytes that these files occupy now.
    case measure([String])
    /// Makes a generation complete: checks the images, fsyncs the `unsynced` of them, writes the manifest, renames, links
    /// `latest`. Fails when the folder has become another incarnation's.
    case commit(folder: String, manifest: Manifest, incarnation: String, unsynced: [String])
    /// Removes the folder of a generation that is not complete.
    case discard(folder: String, generation: UInt32)
    /// Removes complete generations, but the newest `keep`, and only those older than `newest`.
    case prune(folder: String, newest: UInt32, keep: UInt32)
}

public enum DiskOutcome: Equatable, Sendable {
    /// The computation's folder, the number, and the folder that images are created in.
    case prepared(folder: String, generation: UInt32, partial: String)
    case recalled(ComputationSettings?)
    case measured(UInt64)
    /// `debugger`: who holds the first of them that is held by one.
    case stopped([Int32], debugger: String? = nil)
    /// What has stopped each of them, by pid.
    case led([Int32: UInt32])
    /// An errno value; EAGAIN: one was continued meanwhile.
    case notLed(Int32)
    case strays([Stray])
    /// Those whose program will never connect, each with its obstacle.
    case inspected([Stray])
    /// For each process a word about each entry of its survey.
    case assigned([[Assigned]])
    /// The generation's folder.
    case committed(path: String)
    case done
    /// An errno value and the whole sentence.
    case failed(code: Int32, text: String)
}
