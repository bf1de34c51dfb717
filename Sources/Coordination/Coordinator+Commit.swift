import Glibc
import ImageFormat
import SystemCalls
import Wire

// How a checkpoint ends: with a complete generation, or as if it had never been.

extension Coordinator {
    mutating func commit(_ id: String) {
        guard let computation = computations[id], let checkpoint = computation.checkpoint else { return }
        let pids = checkpoint.members.values.map { ($0.worker.hello.ownPid, $0.worker.connection) }
        let members = pids.sorted { $0 < $1 }.compactMap { checkpoint.members[$0.1] }
        let record = self.record(checkpoint, path: nil, error: nil)
        var manifest = Manifest(
            computation: .init(
                id: id, name: computation.name, command: computation.command, directory: computation.directory),
            generation: checkpoint.generation, createdAt: checkpoint.started.text, host: configuration.host,
            kernel: configuration.kernel, snapshot: record.snapshot, needs: checkpoint.needed, pauseMs: record.pause_ms,
            durationMs: record.duration_ms, bytesWritten: record.bytes_written,
            processes: members.map { member in
                .init(
                    pid: member.worker.hello.ownPid, parent: member.worker.hello.ownParent,
                    name: member.worker.hello.name, image: member.image, bytes: member.report?.bytesWritten ?? 0,
                    metadataChecksum: member.report?.metadataChecksum ?? 0, threads: member.report?.threads)
            }, root: root(of: computation, members.map(\.worker.hello)))
        manifest.snapshotReason = record.snapshot_reason
        if !checkpoint.filePages.isEmpty { manifest.filePages = checkpoint.filePages }
        if checkpoint.staysStopped { manifest.endsProcesses = true }
        computations[id]?.checkpoint?.phase = .committing
        beginDisk(
            .commit(
                folder: checkpoint.folder, manifest: manifest, incarnation: computation.incarnation,
                unsynced: members.filter(\.endedUnsynced).map(\.image)), for: id)
    }

    /// The process that was started first, if it is still there. A coordinator that has not seen the start can tell when
    /// one process alone has its parent outside.
    private func root(of computation: Computation, _ members: [Hello]) -> UInt32? {
        let pids = Set(members.map(\.ownPid))
        if computation.rootHasEnded { return nil }
        if computation.root != 0 { return pids.contains(computation.root) ? computation.root : nil }
        let oldest = members.filter { !pids.contains($0.ownParent) }
        return oldest.count == 1 ? oldest.first?.ownPid : nil
    }

    mutating func committed(_ id: String, _ path: String) {
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.phase == .committing else { return }
        sendToMembers(
            id,
            .go(
                StageGo(
                    stage: .committed, generation: checkpoint.generation, processes: UInt32(checkpoint.members.count))))
        let record = self.record(checkpoint, path: path, error: nil)
        log("computation \(id): \(record.summary)")
        let keep = computations[id]?.keep ?? configuration.keep
        beginDisk(.prune(folder: checkpoint.folder, newest: checkpoint.generation, keep: keep), for: id)
        finishCheckpoint(id, record)
    }

    /// Gives the checkpoint up, if there is one: everybody runs on, what was written is removed.
    mutating func failCheckpoint(_ id: String, _ code: Int32, _ text: String) {
        guard let checkpoint = computations[id]?.checkpoint else { return }
        log("checkpoint of \(id) failed: \(text)")
        sendToMembers(id, .abort(Text(error: code, generation: checkpoint.generation, text: text)))
        if !checkpoint.partial.isEmpty {
            beginDisk(.discard(folder: checkpoint.folder, generation: checkpoint.generation), for: id)
        }
        finishCheckpoint(id, record(checkpoint, path: nil, error: text), code: code)
    }

    /// Nothing is wrong, but a process has gone too early: the checkpoint is made once more, from the beginning.
    mutating func startAgain(_ id: String, _ reason: String) {
        guard let checkpoint = computations[id]?.checkpoint, !checkpoint.staysStopped,
            checkpoint.retries < Self.mostRetries
        else { return failCheckpoint(id, ESRCH, reason) }
        log("checkpoint of \(id) is made again: \(reason)")
        sendToMembers(id, .abort(Text(error: EAGAIN, generation: checkpoint.generation, text: reason)))
        letGo(id)
        beginDisk(.discard(folder: checkpoint.folder, generation: checkpoint.generation), for: id)
        beginCheckpoint(id, checkpoint.wants, started: checkpoint.started, retries: checkpoint.retries + 1)
    }

    private static let mostRetries = 5

    /// A process could not be saved just then, and says so before anything of it is lost: connections that wait to be
    /// accepted, events that wait to be read. Everybody runs for a moment, longer each time, and it is tried again.
    mutating func pause(_ id: String, _ reason: String) {
        guard var checkpoint = computations[id]?.checkpoint,
            checkpoint.attempts < Self.fewestAttempts
                || now.monotonic.seconds(since: checkpoint.started.monotonic) < configuration.repeatLimit
        else { return failCheckpoint(id, EAGAIN, reason) }
        log("checkpoint of \(id) is repeated: \(reason)")
        sendToMembers(id, .abort(Text(error: EAGAIN, generation: checkpoint.generation, text: reason)))
        letGo(id)
        if !checkpoint.partial.isEmpty {
            beginDisk(.discard(folder: checkpoint.folder, generation: checkpoint.generation), for: id)
        }
        checkpoint.attempts += 1
        checkpoint.phase = .pausing
        (checkpoint.members, checkpoint.waiting, checkpoint.stoppedBy) = ([:], 0, [:])
        let length = min(Self.shortestPause * Double(1 << min(checkpoint.attempts, 8)), Self.longestPause)
        checkpoint.deadline = now.monotonic.advanced(seconds: length)
        computations[id]?.checkpoint = checkpoint
    }

    mutating func endPause(_ id: String) {
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.phase == .pausing else { return }
        beginCheckpoint(id, checkpoint.wants, started: checkpoint.started, retries: checkpoint.retries)
        computations[id]?.checkpoint?.attempts = checkpoint.attempts
    }

    /// Pauses that are made even where the machine is so busy that one attempt takes longer than the limit.
    private static let fewestAttempts = 2
    /// Seconds.
    private static let shortestPause = 0.001
    private static let longestPause = 0.1

    private func record(_ checkpoint: RunningCheckpoint, path: String?, error: String?) -> CheckpointReply {
        let reports = checkpoint.members.values.compactMap(\.report)
        func milliseconds(_ nanoseconds: Double) -> Double { (nanoseconds / 1000).rounded() / 1000 }
        let snapshot = reports.map(\.snapshot).max { $0.rawValue < $1.rawValue } ?? .stop
        var reply = CheckpointReply(
            generation: checkpoint.generation, path: path, ok: error == nil, started_at: checkpoint.started.text,
            pause_ms: milliseconds(Double(reports.map(\.pause).max() ?? 0)),
            duration_ms: milliseconds(now.monotonic.seconds(since: checkpoint.started.monotonic) * 1e9),
            bytes_written: reports.reduce(0) { $0 &+ $1.bytesWritten }, processes: checkpoint.members.count,
            snapshot: snapshot.name, incremental: !checkpoint.needed.isEmpty, error: error)
        reply.snapshot_reason = reason(for: snapshot, checkpoint)
        return reply
    }

    /// Of the members whose memory was taken this way, what the oldest says.
    private func reason(for snapshot: SnapshotMode, _ checkpoint: RunningCheckpoint) -> String? {
        let members = checkpoint.members.values.filter { $0.report?.snapshot == snapshot && !$0.snapshotReason.isEmpty }
        guard let first = members.min(by: { $0.worker.connection < $1.worker.connection }) else { return nil }
        return checkpoint.members.count == 1 ? first.snapshotReason : "\(first.worker.label): \(first.snapshotReason)"
    }

    private mutating func finishCheckpoint(_ id: String, _ record: CheckpointReply, code: Int32 = 0) {
        guard let checkpoint = computations[id]?.checkpoint else { return }
        let ends = record.ok && checkpoint.wants.contains(where: endsProcesses)
        if !ends { letGo(id) }  // else they are led to their end
        computations[id]?.checkpoint = nil
        computations[id]?.last = record
        scheduleInterval(id, after: checkpoint.started.monotonic)
        for want in checkpoint.wants { satisfy(want, id, record, code) }
        if ends {
            // The program does nothing between this checkpoint and its end: it is what those in the queue want too.
            let queue = computations[id]?.queue ?? []
            computations[id]?.queue = []
            for want in queue { satisfy(want, id, record, code) }
            endProcesses(id, nil)
        }
        startQueued(id)
    }

    private mutating func satisfy(_ want: Want, _ id: String, _ record: CheckpointReply, _ code: Int32) {
        switch want {
        case .interval: break
        case .ask(let connection):
            answer(connection, id, record, code)
        case .askAndEnd(let connection):
            if !record.ok { answer(connection, id, record, code) }  // else KILL is the answer
        case .request(let request):
            requests[request]?.outcomes.append(
                Outcome(computation: id, error: record.error, checkpoint: record.ok ? record : nil))
            if record.ok, requests[request]?.verb == .kcheckpoint {
                endProcesses(id, request)
            } else {
                requestDone(request, id)
            }
        }
    }

    private mutating func answer(_ connection: ConnectionID, _ id: String, _ record: CheckpointReply, _ code: Int32) {
        guard computations[id]?.workers[connection] != nil else { return }
        let text = Text(error: code, generation: record.generation, text: record.error ?? "")
        effects.append(.send(connection, .answer(text)))
    }

    /// The program itself wants a checkpoint.
    mutating func asked(_ ask: Ask, _ connection: ConnectionID, _ id: String) {
        if computations[id]?.ending != nil { return }  // KILL is on its way
        wantCheckpoint(id, [ask.kind == .checkpoint ? .ask(connection) : .askAndEnd(connection)])
    }

    mutating func startQueued(_ id: String) {
        guard let computation = computations[id], computation.checkpoint == nil, !computation.queue.isEmpty else {
            return
        }
        computations[id]?.queue = []
        if computation.ending == nil { return wantCheckpoint(id, computation.queue) }
        computations[id]?.checkpoint = RunningCheckpoint(
            wants: computation.queue, started: now, deadline: now.monotonic)
        failCheckpoint(id, ESRCH, "the processes of computation \(id) were ended before this checkpoint could begin")
    }
}
