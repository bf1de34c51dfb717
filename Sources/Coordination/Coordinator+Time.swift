import SystemCalls
import Wire

// Limits, intervals, and the end of things.

extension Coordinator {
    /// When `Event.timer` is due; nil = nothing is waited for. An earlier timer does no harm.
    public var nextDeadline: Instant? {
        var times: [Instant] = []
        for connection in newcomers {
            if case .new(let deadline)? = clients[connection]?.role { times.append(deadline) }
        }
        for computation in computations.values {
            if let checkpoint = computation.checkpoint {
                if hasDeadline(checkpoint.phase) { times.append(checkpoint.deadline) }
                if let next = checkpoint.strays.next { times.append(next) }
                if let next = checkpoint.nextInspection { times.append(next) }
                if let next = checkpoint.nextStopLook { times.append(next) }
            } else if computation.ending == nil, let next = computation.nextInterval {
                times.append(next)
            }
            if let ending = computation.ending {
                times.append(ending.deadline)
                if let next = ending.nextSweep { times.append(next) }
            }
            if let ended = computation.endedAt { times.append(ended.advanced(seconds: Self.memory)) }
        }
        if let end = idleEnd { times.append(end) }
        return times.min()
    }

    /// The disk and /proc answer by themselves.
    private func hasDeadline(_ phase: RunningCheckpoint.Phase) -> Bool {
        switch phase {
        case .gathering, .pausing, .stage: true
        case .preparing, .numbering, .committing: false
        }
    }

    /// Seconds that an ended computation is remembered: a process may still come back to it.
    static let memory = 60.0

    mutating func timer() {
        let instant = now.monotonic
        for connection in newcomers.sorted() {
            if case .new(let deadline)? = clients[connection]?.role, deadline <= instant {
                log("closed a connection that said nothing")
                dismiss(connection)
            }
        }
        for id in identifiers {
            checkpointTimer(id, instant)
            if let ending = computations[id]?.ending, ending.deadline <= instant { endingOverdue(id) }
            if let next = computations[id]?.ending?.nextSweep, next <= instant { sweep(id) }
            intervalTimer(id, instant)
            if let ended = computations[id]?.endedAt, ended.advanced(seconds: Self.memory) <= instant {
                computations[id] = nil
            }
        }
        if let end = idleEnd, end <= instant {
            log("ends: no process is there")
            exit(0)
        }
    }

    private mutating func checkpointTimer(_ id: String, _ instant: Instant) {
        if let next = computations[id]?.checkpoint?.nextInspection, next <= instant { inspectExecs(id) }
        if let next = computations[id]?.checkpoint?.strays.next, next <= instant {
            computations[id]?.checkpoint?.strays.next = nil
            passBarrier(id)
        }
        if let next = computations[id]?.checkpoint?.nextStopLook, next <= instant { lookForStops(id) }
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.deadline <= instant else { return }
        switch checkpoint.phase {
        case .gathering: gatheringOverdue(id)
        case .pausing: endPause(id)
        case .stage(let stage): stageOverdue(id, stage)
        case .preparing, .numbering, .committing: break
        }
    }

    private mutating func intervalTimer(_ id: String, _ instant: Instant) {
        guard let computation = computations[id], let next = computation.nextInterval, next <= instant,
            computation.checkpoint == nil, computation.ending == nil
        else { return }
        computations[id]?.nextInterval = nil
        if !computation.workers.isEmpty { wantCheckpoint(id, [.interval]) }
    }

    /// Sets the time of the next automatic checkpoint: an interval after the last one's start, but not before the
    /// program has had a tenth of it for itself.
    mutating func scheduleInterval(_ id: String, after start: Instant? = nil) {
        guard let computation = computations[id] else { return }
        guard computation.interval > 0, !computation.workers.isEmpty else {
            computations[id]?.nextInterval = nil
            return
        }
        if let start {
            computations[id]?.nextInterval = max(
                start.advanced(seconds: computation.interval),
                now.monotonic.advanced(seconds: computation.interval / 10))
        } else if computation.nextInterval == nil, computation.checkpoint == nil {
            computations[id]?.nextInterval = now.monotonic.advanced(seconds: computation.interval)
        }
    }

    /// After every event: computations that have ended, and whether the coordinator has.
    mutating func settle() {
        for id in identifiers {
            guard let computation = computations[id], !computation.isAlive, computation.endedAt == nil else { continue }
            if let ending = computation.ending, !ending.isSwept { sweep(id) } else { ended(id, computation) }
        }
        let alive = computations.values.contains(where: \.isAlive)
        if alive {
            hadProcesses = true
            idleSince = nil
        } else if idleSince == nil {
            idleSince = now.monotonic
        }
        let busy =
            !requests.isEmpty || computations.values.contains { $0.checkpoint != nil }
            || !newcomers.isEmpty  // who has just come may announce a process
        if !alive, !busy, hadProcesses, configuration.exitOnLast {
            log("ends: its last process has gone")
            exit(0)
        }
    }

    private mutating func ended(_ id: String, _ computation: Computation) {
        computations[id]?.endedAt = now.monotonic
        computations[id]?.nextInterval = nil
        computations[id]?.ending = nil
        for request in computation.ending?.requests ?? [] {
            if requests[request]?.verb != .kcheckpoint {
                requests[request]?.outcomes.append(Outcome(computation: id))
            }
            requestDone(request, id)
        }
        startQueued(id)
    }

    /// When the coordinator ends because nobody is there.
    private var idleEnd: Instant? {
        guard let idleSince else { return nil }
        var ends: [Instant] = []
        if let stale = configuration.staleTimeout { ends.append(idleSince.advanced(seconds: stale)) }
        if configuration.exitOnLast, !hadProcesses {
            ends.append(idleSince.advanced(seconds: configuration.firstLimit))
        }
        return ends.min()
    }
}
