import CSwiftCP
import Formats
import Glibc
import ImageFormat
import SystemCalls
import Wire

// A checkpoint, from the wish to the complete generation:
//
//   gathering   announced processes say HELLO or are gone
//   pausing     (only after a process could not be saved just then) everybody runs for a moment, then all over again
//   preparing   the generation's folder is made
//   stage       (several processes prepare until all are ready) quiesced, surveyed, examined, snapshotted, written: a barrier after each
//   numbering   after surveyed: what the members share is compared
//   committing  manifest, rename, link
//
// Whatever goes wrong leads to failCheckpoint: all members get ABORT, the folder is removed, older generations stay.

extension Coordinator {
    /// Starts a checkpoint, or joins one that has not begun to stop anybody, or queues.
    mutating func wantCheckpoint(_ id: String, _ wants: [Want]) {
        if let phase = computations[id]?.checkpoint?.phase {
            if phase == .gathering || phase == .pausing || phase == .preparing {
                computations[id]?.checkpoint?.wants += wants
            } else {
                computations[id]?.queue += wants
            }
            return
        }
        beginCheckpoint(id, wants, started: now, retries: 0)
    }

    mutating func beginCheckpoint(_ id: String, _ wants: [Want], started: Moment, retries: Int) {
        guard let computation = computations[id] else { return }
        var checkpoint = RunningCheckpoint(
            wants: wants, started: started, deadline: now.monotonic.advanced(seconds: configuration.announceLimit))
        checkpoint.retries = retries
        checkpoint.executing = Set(computation.announced.filter { $0.reason == .exec }.map(\.pid))
        computations[id]?.checkpoint = checkpoint
        gather(id)
    }

    /// The list of announced processes has changed.
    mutating func announcedChanged(_ id: String) {
        switch computations[id]?.checkpoint?.phase {
        case .gathering: gather(id)
        case .stage(.quiesced): passBarrier(id)
        default: break
        }
    }

    /// Waits for those that are to start, and for the execs that were under way at the beginning: later ones are waited
    /// for at the barrier, or a program that always has one under way would never be checkpointed.
    mutating func gather(_ id: String) {
        guard let computation = computations[id], let checkpoint = computation.checkpoint,
            computation.announced.allSatisfy({ $0.reason == .exec })
        else { return }
        let executing = checkpoint.executing.intersection(computation.announced.map(\.pid))
        computations[id]?.checkpoint?.executing = executing
        guard executing.isEmpty else { return awaitExecs(id) }
        guard !computation.workers.isEmpty else {
            if computation.isExecuting { return awaitExecs(id) }
            return failCheckpoint(id, ESRCH, "computation \(id) has no process to checkpoint: it has ended")
        }
        computations[id]?.checkpoint?.phase = .preparing
        let pids = computation.workersInOrder.map(\.pid).filter { $0 > 0 }
        let newborn = computation.stoppedNewborn.filter { !pids.contains($0) }
        computations[id]?.stoppedNewborn = []
        beginDisk(.findStopped(pids + newborn), for: id)
    }

    mutating func prepare(_ id: String) {
        guard let computation = computations[id] else { return }
        beginDisk(
            .prepare(
                directory: computation.checkpointDirectory, id: id, lowest: computation.highestGeneration + 1,
                settings: computation.settings(host: configuration.host), owned: computation.ownsFolder), for: id)
    }

    /// An automatic checkpoint that cannot be made now is no failure.
    mutating func skip(_ id: String, _ checkpoint: RunningCheckpoint) {
        computations[id]?.checkpoint = nil
        scheduleInterval(id, after: checkpoint.started.monotonic)
        startQueued(id)
    }

    /// A process came while a checkpoint was being made.
    mutating func joinCheckpoint(_ id: String, _ worker: Worker) {
        switch computations[id]?.checkpoint?.phase {
        case .gathering: gather(id)
        case .stage(.quiesced):
            order(id, worker)
            expectStops(id)
        default: break
        }
    }

    @discardableResult
    mutating func beginDisk(_ operation: DiskOperation, for id: String) -> DiskToken {
        let token = DiskToken(newSerial())
        disk[token] = id
        effects.append(.disk(token, operation))
        return token
    }

    mutating func diskFinished(_ token: DiskToken, _ outcome: DiskOutcome) {
        guard let id = disk.removeValue(forKey: token), computations[id] != nil else { return }
        switch outcome {
        case .prepared(let folder, let generation, let partial): prepared(id, folder, generation, partial)
        case .recalled(let settings): recalled(id, token, settings)
        case .stopped(let pids, let debugger): checkedForStopped(id, pids, debugger)
        case .led(let signals): led(id, signals)
        case .notLed(let code): notLed(id, code)
        case .measured(let bytes): measured(id, bytes)
        case .strays(let strays): scanned(id, token, strays)
        case .inspected(let strays): inspected(id, token, strays)
        case .assigned(let lists): assigned(id, lists)
        case .committed(let path): committed(id, path)
        case .done: break
        case .failed(let code, let text): diskFailed(id, token, code, text)
        }
    }

    private mutating func diskFailed(_ id: String, _ token: DiskToken, _ code: Int32, _ text: String) {
        if computations[id]?.ending?.sweeping == token {
            log(text)
            return scanned(id, token, [])
        }
        if computations[id]?.checkpoint?.strays.scanning == token { return failCheckpoint(id, code, text) }
        switch computations[id]?.checkpoint?.phase {
        case .preparing, .numbering, .committing: failCheckpoint(id, code, text)
        default: log(text)  // tidying up: nothing depends on it
        }
    }

    private mutating func prepared(_ id: String, _ folder: String, _ generation: UInt32, _ partial: String) {
        computations[id]?.highestGeneration = generation
        computations[id]?.ownsFolder = true
        guard var checkpoint = computations[id]?.checkpoint, checkpoint.phase == .preparing else {
            beginDisk(.discard(folder: folder, generation: generation), for: id)
            return
        }
        (checkpoint.folder, checkpoint.generation, checkpoint.partial) = (folder, generation, partial)
        checkpoint.phase = .stage(.quiesced)
        checkpoint.staysStopped = checkpoint.wants.contains(where: endsProcesses)
        checkpoint.deadline = stageDeadline(.quiesced)
        computations[id]?.checkpoint = checkpoint
        let workers = computations[id]?.workersInOrder ?? []
        if workers.isEmpty, computations[id]?.announced.isEmpty ?? true {
            return failCheckpoint(
                id, ESRCH, "the last process of computation \(id) ended before it could be checkpointed")
        }
        computations[id]?.checkpoint?.hasStarted = workers.count < 2
        computations[id]?.checkpoint?.unordered = workers.map(\.connection).reversed()
        orderNext(id)
        expectStops(id)
    }

    func endsProcesses(_ want: Want) -> Bool {
        switch want {
        case .request(let request): requests[request]?.verb == .kcheckpoint
        case .askAndEnd: true
        case .ask, .interval: false
        }
    }

    func stageDeadline(_ stage: Stage) -> Instant {
        // The worker's own limit comes first: it can say which thread held things up.
        let seconds =
            stage == .quiesced
            ? configuration.quiesceLimit + min(configuration.prepareLimit, configuration.stageLimit)
            : configuration.stageLimit
        return now.monotonic.advanced(seconds: seconds)
    }

    mutating func order(_ id: String, _ worker: Worker) {
        // No copy of the checkpoint is kept here: adding a member would copy all of them.
        guard let generation = computations[id]?.checkpoint?.generation,
            let partial = computations[id]?.checkpoint?.partial,
            let staysStopped = computations[id]?.checkpoint?.staysStopped
        else { return }
        let image = ImageName(name: worker.hello.name, pid: worker.hello.ownPid).fileName
        var flags = computations[id]?.checkpointFlags ?? 0
        if staysStopped { flags |= UInt32(SCP_CHECKPOINT_STAY_STOPPED.rawValue) }
        let stopped = computations[id]?.checkpoint?.stoppedBy ?? [:]
        let waitsForStart = computations[id]?.checkpoint?.hasStarted == false
        if waitsForStart { flags |= UInt32(SCP_CHECKPOINT_TOGETHER.rawValue) }
        if computations[id]?.workers.count == 1, computations[id]?.announced.isEmpty == true {
            flags |= UInt32(SCP_CHECKPOINT_ALONE.rawValue)
        }
        if computations[id]?.checkpoint?.retries ?? 0 > 0 { flags |= UInt32(SCP_CHECKPOINT_SEAL.rawValue) }
        // A worker waits for the slowest of all; the coordinator's own limits are far stricter.
        let patience = min(configuration.stageLimit * 10, 4_000_000)
        var order = CheckpointOrder(
            generation: generation, flags: flags, stageLimit: UInt32(patience * 1000),
            quiesceLimit: UInt32(min(configuration.quiesceLimit, 4_000_000) * 1000),
            path: partial + "/" + image)
        order.snapshot = computations[id]?.snapshot ?? .auto
        (order.compression, order.ioLimit) = (computations[id]?.compression ?? 0, computations[id]?.ioLimit ?? 0)
        order.incremental = computations[id]?.incremental ?? 0
        (order.stoppedBy, order.stoppedAmong) = (stopped[worker.pid] ?? 0, UInt32(stopped.count))
        computations[id]?.checkpoint?.members[worker.connection] = .init(
            worker: worker, image: image, waitsForStart: waitsForStart)
        computations[id]?.checkpoint?.waiting += 1
        effects.append(.send(worker.connection, .checkpoint(order)))
    }
}
