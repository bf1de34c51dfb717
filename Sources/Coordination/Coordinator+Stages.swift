import Formats
import Glibc
import SystemCalls
import Wire

// A barrier after each stage: nobody goes on before all have reported it.

extension Coordinator {
    mutating func stageReached(_ report: StageReport, _ connection: ConnectionID, _ id: String) {
        // No copy of the checkpoint is kept here: changing one member would copy all of them.
        guard let phase = computations[id]?.checkpoint?.phase,
            computations[id]?.checkpoint?.generation == report.generation,
            let member = computations[id]?.checkpoint?.members[connection]
        else { return }  // late: of a checkpoint that was given up
        if report.stage == .running, phase == .stage(.quiesced), member.waitsForStart, member.reached < .quiesced {
            return prepared(id, connection)
        }
        guard phase == .stage(report.stage), member.reached < report.stage else {
            return failCheckpoint(
                id, EPROTO, "\(member.worker.label) reported stage \(report.stage.name) out of order")
        }
        computations[id]?.checkpoint?.members[connection]?.report = report
        computations[id]?.checkpoint?.waiting -= 1
        prepared(id, connection)
        passBarrier(id)
    }

    /// Why a member's memory was taken the way it was.
    mutating func snapshotTold(_ text: Text, _ connection: ConnectionID, _ id: String) {
        guard computations[id]?.checkpoint?.generation == text.generation else { return }  // late
        computations[id]?.checkpoint?.members[connection]?.snapshotReason = text.text
    }

    /// A member's image will need earlier generations, or file pages.
    mutating func ancestorsTold(_ ancestors: Ancestors, _ connection: ConnectionID, _ id: String) {
        guard computations[id]?.checkpoint?.generation == ancestors.generation else { return }  // late
        computations[id]?.checkpoint?.members[connection]?.needed = ancestors.needed
        computations[id]?.checkpoint?.members[connection]?.filePages = ancestors.filePages
    }

    /// Goes on when all members have reported the stage. Called for every report, so it counts nobody.
    mutating func passBarrier(_ id: String) {
        guard case .stage(let stage)? = computations[id]?.checkpoint?.phase else { return }
        // Before everything stands still processes may still exec and exit; those that exec are waited for.
        if stage == .quiesced, computations[id]?.isExecuting == true { return awaitExecs(id) }
        guard computations[id]?.checkpoint?.members.isEmpty == false else {
            return failCheckpoint(
                id, ESRCH, "the last process of computation \(id) ended before it could be checkpointed")
        }
        guard computations[id]?.checkpoint?.waiting == 0 else { return }
        switch stage {
        case .quiesced: closeSet(id)
        case .surveyed: number(id)
        case .written: commit(id)
        default: goOn(id, from: stage)
        }
    }

    /// Everybody may go on to the next stage.
    mutating func goOn(_ id: String, from stage: Stage) {
        guard let count = computations[id]?.checkpoint?.members.count, var next = stage.next,
            let generation = computations[id]?.checkpoint?.generation
        else { return }
        if next == .surveyed, count == 1 { next = .snapshotted }  // shares nothing
        sendToMembers(id, .go(StageGo(stage: stage, generation: generation, processes: UInt32(count))))
        let deadline = stageDeadline(next)
        computations[id]?.checkpoint?.phase = .stage(next)
        computations[id]?.checkpoint?.waiting = count
        expectStops(id)
        computations[id]?.checkpoint?.deadline = deadline
    }

    mutating func sendToMembers(_ id: String, _ message: Message) {
        guard let computation = computations[id], let members = computation.checkpoint?.members else { return }
        for connection in members.keys.sorted() where computation.workers[connection] != nil {
            effects.append(.send(connection, message))
        }
    }

    mutating func workerFailed(_ text: Text, _ connection: ConnectionID, _ id: String) {
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.generation == text.generation,
            let member = checkpoint.members[connection]
        else { return }  // late
        let reason = "\(member.worker.label): \(text.text.isEmpty ? SystemError.reason(text.error) : text.text)"
        if text.error == EAGAIN { return pause(id, reason) }
        failCheckpoint(id, text.error == 0 ? EIO : text.error, reason)
    }

    /// A member's connection has gone.
    mutating func checkpointMemberGone(_ id: String, _ worker: Worker) {
        guard let checkpoint = computations[id]?.checkpoint else { return }
        switch checkpoint.phase {
        case .gathering: gather(id)
        case .pausing, .preparing, .committing: break
        case .stage(.quiesced):
            if let member = checkpoint.members[worker.connection] {
                computations[id]?.checkpoint?.members[worker.connection] = nil
                if member.reached < .quiesced { computations[id]?.checkpoint?.waiting -= 1 }
            }
            prepared(id, worker.connection)
            passBarrier(id)
        case .numbering: memberGoneInThePause(id, worker, "snapshotted")
        case .stage(.written): memberGoneWhileWriting(id, worker)
        case .stage(let stage):
            guard checkpoint.members[worker.connection] != nil else { return }
            memberGoneInThePause(id, worker, stage.name)
        }
    }

    /// It was on its way out already (its threads had gone when it was asked), or has been killed. The others can be saved.
    private mutating func memberGoneInThePause(_ id: String, _ worker: Worker, _ stage: String) {
        let reason = "\(worker.label) ended during the checkpoint, before stage \(stage)"
        guard computations[id]?.workers.isEmpty == false else { return failCheckpoint(id, ESRCH, reason) }
        startAgain(id, reason)
    }

    /// The program runs on already, so its processes may end, or replace their program, before their images are durable.
    private mutating func memberGoneWhileWriting(_ id: String, _ worker: Worker) {
        // An image that is written and durable stays true after its process has gone.
        guard let member = computations[id]?.checkpoint?.members[worker.connection], member.reached < .written else {
            return
        }
        if let report = member.report, report.metadataChecksum != 0, computations[id]?.checkpoint?.staysStopped == false
        {
            // So does one that was complete before the program ran on: the commit makes it durable.
            computations[id]?.checkpoint?.members[worker.connection]?.endedUnsynced = true
            computations[id]?.checkpoint?.members[worker.connection]?.report?.stage = .written
            computations[id]?.checkpoint?.waiting -= 1
            return passBarrier(id)
        }
        startAgain(id, "\(worker.label) ended during the checkpoint, before its image was written")
    }

    /// The stage's time is up: images that still grow get more.
    mutating func stageOverdue(_ id: String, _ stage: Stage) {
        guard let checkpoint = computations[id]?.checkpoint else { return }
        // Before they stand still processes write what they can already (pre-copy).
        guard [.quiesced, .snapshotted, .written].contains(stage) else { return failLate(id, stage) }
        let deadline = stageDeadline(stage)
        computations[id]?.checkpoint?.deadline = deadline
        let names = checkpoint.members.values.map(\.image).sorted() + [CheckpointNames.filePages]
        beginDisk(.measure(names.map { checkpoint.partial + "/" + $0 }), for: id)
    }

    mutating func measured(_ id: String, _ bytes: UInt64) {
        guard let checkpoint = computations[id]?.checkpoint, case .stage(let stage) = checkpoint.phase else { return }
        if bytes > checkpoint.progress {
            computations[id]?.checkpoint?.progress = bytes
        } else {
            failLate(id, stage)
        }
    }

    mutating func failLate(_ id: String, _ stage: Stage) {
        guard let computation = computations[id], let checkpoint = computation.checkpoint else { return }
        let late = checkpoint.members.values.filter { isLate($0, stage, checkpoint) }.map(\.worker.label).sorted()
        let starting = computation.announced.filter { $0.reason == .exec }.map(\.label)
        let strays = stage == .quiesced && late.isEmpty ? checkpoint.strays.entries.values.map(\.stray.label) : []
        let loose = stage == .quiesced && late.isEmpty && strays.isEmpty ? looseChildren(checkpoint) : []
        let names = (late + starting + strays.sorted() + loose).prefix(4).joined(separator: ", ")
        failCheckpoint(
            id, ETIMEDOUT,
            "\(names) did not reach stage \(stage.name) within \(shortened(configuration.stageLimit)) s;"
                + " the program runs on (swiftcp_coordinator --timeout sets the limit)")
    }

    mutating func gatheringOverdue(_ id: String) {
        let missing = computations[id]?.announced ?? []
        let names = missing.prefix(4).map(\.label).joined(separator: ", ")
        let what = missing.first?.reason == .exec ? "has replaced its program" : "was started"
        failCheckpoint(
            id, ETIMEDOUT,
            "\(names) \(what), but has not connected within \(shortened(configuration.announceLimit)) s"
                + " (is its program statically linked, or setuid?)")
    }

    func shortened(_ seconds: Double) -> String {
        seconds == seconds.rounded() && seconds < 1e15 ? "\(Int64(seconds))" : "\(seconds)"
    }
}
