import ImageFormat
import Synchronization
import SystemCalls
import Testing
import Wire

@testable import Coordination

/// A coordinator with hand-turned clock, sockets that are lists, and a disk that answers at once.
struct Rig {
    var coordinator: Coordinator
    private(set) var seconds = 1000.0
    /// What has been sent to each connection, in order, and not been taken yet.
    private(set) var sent: [ConnectionID: [Message]] = [:]
    private(set) var replies: [(requester: Requester, reply: CommandReply)] = []
    private(set) var closed: Set<ConnectionID> = []
    private(set) var watched: Set<Int32> = []
    private(set) var destroyed: [Int32] = []
    private(set) var exitStatus: Int32?
    /// Names of disk operations in order.
    private(set) var diskLog: [String] = []
    /// The next operation of this name fails so.
    var diskFailure: (operation: String, code: Int32, text: String)?
    /// Answers to `measure`, used up in order; then 0.
    var measures: [UInt64] = []
    /// Processes that are stopped.
    var stopped: Set<Int32> = []
    /// The errno value with which leading them is refused.
    var leadError: Int32?
    /// Who is led, of each computation.
    private(set) var led: [String: [Int32]] = [:]
    /// What looks through /proc find, used up in order; then nobody.
    var scans: [[Stray]] = []
    /// Processes whose program will never connect.
    var inspections: [Stray] = []
    /// What was looked for.
    private(set) var queries: [ScanQuery] = []
    /// What the members had in common, by process and descriptor: equal words are one description.
    var descriptions: [Int32: [Int32: Int]] = [:]
    /// Settings in each computation's folder.
    var stored: [String: ComputationSettings] = [:]
    /// Highest generation in each computation's folder.
    var folders: [String: UInt32] = [:]
    private(set) var manifests: [Manifest] = []
    private var lastConnection: UInt64 = 0

    init(_ change: (inout Configuration) -> Void = { _ in }) {
        var configuration = Configuration()
        configuration.address = "unix:/test"
        configuration.user = 1000
        change(&configuration)
        let numbers = Mutex(0)
        coordinator = Coordinator(configuration, at: Rig.moment(1000)) {
            numbers.withLock { last in
                last += 1
                return "made\(last)"
            }
        }
    }

    static func moment(_ seconds: Double) -> Moment {
        Moment(
            monotonic: Instant(nanoseconds: Int64(seconds * 1e9)),
            wall: 1_700_000_000_000_000_000 + Int64(seconds * 1e9))
    }

    mutating func feed(_ event: Event) {
        for effect in coordinator.handle(event, at: Rig.moment(seconds)) { take(effect) }
    }

    private mutating func take(_ effect: Effect) {
        switch effect {
        case .send(let connection, let message): sent[connection, default: []].append(message)
        case .close(let connection):
            closed.insert(connection)
            feed(.disconnected(connection))
        case .reply(let requester, let reply): replies.append((requester, reply))
        case .disk(let token, let operation): feed(.disk(token, answer(operation)))
        case .watch(let pid): watched.insert(pid)
        case .destroy(let pid): destroyed.append(pid)
        case .letGo(let id): led[id] = nil
        case .log: break
        case .exit(let status): exitStatus = status
        }
    }

    private mutating func answer(_ operation: DiskOperation) -> DiskOutcome {
        let name: String
        let outcome: DiskOutcome
        switch operation {
        case .prepare(_, let id, let lowest, let settings, let owned):
            name = "prepare"
            if owned { #expect(stored[id]?.incarnation == settings.incarnation) }
            stored[id] = settings
            let folder = "/images/ckpt_\(settings.name)_\(id)"
            let number = max(lowest, (folders[id] ?? 0) + 1)
            outcome = .prepared(folder: folder, generation: number, partial: "\(folder)/.partial-\(number)")
        case .findStopped(let pids):
            return .stopped(pids.filter(stopped.contains))
        case .lead(let id, let pids):
            if let leadError { return .notLed(leadError) }
            led[id] = pids
            return .led(Dictionary(uniqueKeysWithValues: pids.map { ($0, 19) }))
        case .recall(_, let id):
            return .recalled(stored[id])
        case .scan(let query):
            queries.append(query)
            return .strays(scans.isEmpty ? [] : scans.removeFirst())
        case .inspect(let pids):
            return .inspected(inspections.filter { pids.contains($0.pid) })
        case .assign(let processes):
            name = "assign"
            outcome = compare(processes)
        case .measure:
            name = "measure"
            outcome = .measured(measures.isEmpty ? 0 : measures.removeFirst())
        case .commit(let folder, let manifest, _, let unsynced):
            name = unsynced.isEmpty ? "commit" : "commit, syncing \(unsynced.joined(separator: " "))"
            if diskFailure?.operation != "commit" {
                manifests.append(manifest)
                folders[manifest.computation.id] = manifest.generation
            }
            outcome = .committed(path: "\(folder)/gen-\(manifest.generation)")
        case .discard(_, let generation):
            name = "discard \(generation)"
            outcome = .done
        case .prune(_, let newest, let keep):
            name = "prune \(newest) \(keep)"
            outcome = .done
        }
        diskLog.append(name)
        if let failure = diskFailure, name.hasPrefix(failure.operation) {
            diskFailure = nil
            return .failed(code: failure.code, text: failure.text)
        }
        return outcome
    }

    private func compare(_ processes: [SurveyedProcess]) -> DiskOutcome {
        let lists = try? Sharing.assign(processes) { (one, other) throws(SystemError) in
            func word(_ place: Sharing.Place) -> Int { descriptions[processes[place.process].pid]?[place.number] ?? -1 }
            return word(one) - word(other)
        }
        return lists.map(DiskOutcome.assigned) ?? .failed(code: 1, text: "cannot compare")
    }

    // MARK: Moves

    mutating func connect(pid: Int32 = 1, user: UInt32 = 1000) -> ConnectionID {
        lastConnection += 1
        let connection = ConnectionID(lastConnection)
        feed(.connected(connection, PeerCredentials(pid: pid, user: user, group: 1000)))
        return connection
    }

    /// A worker that has said HELLO and taken its WELCOME.
    mutating func worker(
        _ pid: Int32, in computation: String = "one", name: String = "counter", restarted: Bool = false,
        parent: UInt32 = 1, takesWelcome: Bool = true
    ) -> ConnectionID {
        let connection = connect(pid: pid)
        feed(
            .message(
                connection,
                .hello(
                    Hello(
                        ownPid: UInt32(pid), ownParent: parent, restarted: restarted, name: name,
                        computation: computation, checkpointDirectory: "/images"))))
        if takesWelcome { #expect(take(connection) == .welcome(Welcome())) }
        return connection
    }

    mutating func request(_ request: Request) -> ConnectionID {
        let connection = connect()
        feed(.message(connection, .request(request)))
        return connection
    }

    mutating func launch(
        pid: Int32, computation: String = "one", change: (inout Launch) -> Void = { _ in }
    ) -> Launched? {
        let connection = connect(pid: pid)
        var launch = Launch()
        launch.pid = UInt32(pid)
        launch.name = "counter"
        launch.computation = computation
        launch.checkpointDirectory = "/images"
        launch.command = ["./counter", "10"]
        launch.directory = "/home"
        change(&launch)
        feed(.message(connection, .launch(launch)))
        guard case .launched(let launched)? = take(connection) else { return nil }
        feed(.disconnected(connection))
        return launched
    }

    mutating func report(
        _ connection: ConnectionID, _ stage: Stage, _ generation: UInt32, checksum: UInt64 = 0
    ) {
        feed(
            .message(
                connection,
                .stage(
                    StageReport(
                        stage: stage, generation: generation, pause: stage == .written ? 2_500_000 : 0,
                        bytesWritten: stage == .written ? 4096 : 0, metadataChecksum: stage == .written ? 7 : checksum,
                        threads: 2))))
    }

    mutating func tellChildren(
        _ connection: ConnectionID, _ pids: [UInt32], zombies: [UInt32] = [], hasForked: Bool = true,
        _ generation: UInt32
    ) {
        let all = pids.map { ChildProcess(pid: $0) } + zombies.map { ChildProcess(pid: $0, isZombie: true) }
        feed(
            .message(
                connection, .children(Children(generation: generation, hasForked: hasForked, processes: all))))
    }

    /// The process is gone with its connection.
    mutating func die(_ connection: ConnectionID, _ pid: Int32) {
        feed(.disconnected(connection))
        feed(.processEnded(pid))
    }

    /// Turns the clock on, in steps at which the coordinator wants to be woken.
    mutating func pass(_ duration: Double) {
        let end = seconds + duration
        while let next = coordinator.nextDeadline, exitStatus == nil {
            let due = max(Double(next.nanoseconds) / 1e9, seconds)
            if due > end { break }
            // Beyond the rounding of a Double: else a deadline could look not yet come for ever.
            seconds = due + 1e-6
            feed(.timer)
        }
        seconds = max(end, seconds)
    }

    // MARK: Looks

    mutating func take(_ connection: ConnectionID) -> Message? {
        guard let first = sent[connection]?.first else { return nil }
        sent[connection]?.removeFirst()
        return first
    }

    mutating func takeAll(_ connection: ConnectionID) -> [Message] {
        defer { sent[connection] = [] }
        return sent[connection] ?? []
    }

    /// The order that the worker has just got.
    mutating func takeOrder(_ connection: ConnectionID) -> CheckpointOrder? {
        guard case .checkpoint(let order)? = take(connection) else { return nil }
        return order
    }

    func reply(_ connection: ConnectionID) -> CommandReply? {
        replies.first { $0.requester == .connection(connection) }?.reply
    }

    /// The reply to a request that is answered at once.
    mutating func answer(_ request: Request) -> CommandReply? {
        let connection = self.request(request)
        return reply(connection)
    }

    /// Drives these workers from their orders to GO committed. Returns the generation.
    @discardableResult
    mutating func complete(_ workers: [ConnectionID]) -> UInt32? {
        var generation: UInt32?
        for worker in workers { generation = takeOrder(worker)?.generation }
        guard let generation else { return nil }
        finish(workers, generation)
        return generation
    }

    /// The same for workers whose orders have been taken.
    mutating func finish(
        _ workers: [ConnectionID], _ generation: UInt32, stoppedChildren: [ConnectionID: [UInt32]] = [:]
    ) {
        let count = UInt32(workers.count)
        for stage in [Stage.quiesced, .surveyed, .snapshotted] where stage != .surveyed || count > 1 {
            for worker in workers { report(worker, stage, generation) }
            for worker in workers {
                if stage == .surveyed {
                    let stopped = stoppedChildren[worker] ?? []
                    #expect(
                        take(worker) == .assignment(Assignment(generation: generation, entries: [], stopped: stopped)))
                }
                #expect(take(worker) == .go(StageGo(stage: stage, generation: generation, processes: count)))
            }
        }
        for worker in workers { report(worker, .written, generation) }
        for worker in workers {
            #expect(take(worker) == .go(StageGo(stage: .committed, generation: generation, processes: count)))
        }
    }
}
