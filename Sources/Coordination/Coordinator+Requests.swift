import Glibc
import SystemCalls
import Wire

// What commands and the terminal ask for.

extension Coordinator {
    mutating func requested(_ request: Request, by requester: Requester) {
        let targets = living.filter { request.computation.isEmpty || $0.id == request.computation }.map(\.id)
        if !request.computation.isEmpty, targets.isEmpty {
            let text = "no computation \"\(request.computation)\" runs at \(configuration.address)"
            return effects.append(.reply(requester, CommandReply(command: request.verb.name, error: text)))
        }
        switch request.verb {
        case .status, .list: effects.append(.reply(requester, statusReply(request.verb, targets)))
        case .checkpoint, .kcheckpoint: requestCheckpoint(request, targets, requester)
        case .interval: setInterval(request, targets, requester)
        case .kill, .quit: requestEnd(request, targets, requester)
        }
    }

    private mutating func open(_ request: Request, _ targets: [String], _ requester: Requester?) -> RequestID {
        let id = RequestID(number: newSerial())
        requests[id] = PendingRequest(requester: requester, verb: request.verb, waiting: Set(targets))
        return id
    }

    private mutating func requestCheckpoint(_ request: Request, _ targets: [String], _ requester: Requester) {
        guard !targets.isEmpty else {
            let text =
                "no process to checkpoint at \(configuration.address); start one with swiftcp_launch --coordinator "
                + configuration.address
            return effects.append(.reply(requester, CommandReply(command: request.verb.name, error: text)))
        }
        let id = open(request, targets, request.noWait ? nil : requester)
        for target in targets { wantCheckpoint(target, [.request(id)]) }
        if request.noWait { effects.append(.reply(requester, statusReply(request.verb, targets))) }
    }

    private mutating func setInterval(_ request: Request, _ targets: [String], _ requester: Requester) {
        let seconds = Double(request.interval) / 1e6
        if request.computation.isEmpty { configuration.interval = seconds }
        for target in targets {
            computations[target]?.interval = seconds
            computations[target]?.nextInterval = nil
            scheduleInterval(target)
        }
        effects.append(.reply(requester, statusReply(.interval, targets)))
    }

    private mutating func requestEnd(_ request: Request, _ targets: [String], _ requester: Requester) {
        let id = open(request, targets, requester)
        if request.verb == .quit { quitting = true }
        for target in targets { endProcesses(target, id) }
        if targets.isEmpty { requestDone(id, "") }
    }

    /// Tells all processes of a computation to end. The request waits until they have.
    mutating func endProcesses(_ id: String, _ request: RequestID?) {
        guard let computation = computations[id] else { return }
        if computation.ending != nil {
            if let request { computations[id]?.ending?.requests.append(request) }
            return
        }
        computations[id]?.ending = Ending(
            requests: request.map { [$0] } ?? [], deadline: now.monotonic.advanced(seconds: configuration.killLimit))
        failCheckpoint(id, ECANCELED, "the processes are ended by request")
        startQueued(id)
        let workers = computation.parentsFirst
        for worker in workers {
            watch(worker.pid)
            // Nobody is left to start again what has been ended: parents go first, by a signal that is there at once.
            if workers.count > 1, worker.pid > 0 { effects.append(.destroy(worker.pid)) }
            effects.append(.send(worker.connection, .kill))
        }
    }

    /// They have not ended in time: first SIGKILL, then the truth.
    mutating func endingOverdue(_ id: String) {
        guard let computation = computations[id], let ending = computation.ending else { return }
        let pids = computation.workersInOrder.map(\.pid) + computation.announced.map(\.pid)
        guard ending.escalated else {
            computations[id]?.ending?.escalated = true
            computations[id]?.ending?.deadline = now.monotonic.advanced(seconds: configuration.killLimit)
            for pid in pids where pid > 0 { effects.append(.destroy(pid)) }
            return
        }
        computations[id]?.ending = nil
        let names = pids.prefix(4).map(String.init).joined(separator: ", ")
        for request in ending.requests {
            requests[request]?.outcomes.append(
                Outcome(computation: id, error: "process \(names) did not end, not even by SIGKILL"))
            requestDone(request, id)
        }
    }

    /// One computation has done its part of a request.
    mutating func requestDone(_ request: RequestID, _ id: String) {
        requests[request]?.waiting.remove(id)
        guard let pending = requests[request], pending.waiting.isEmpty else { return }
        requests[request] = nil
        if let requester = pending.requester {
            effects.append(.reply(requester, outcomeReply(pending)))
        }
        if pending.verb == .quit {
            log("ends as it was told to")
            exit(0)
        }
    }
}

// MARK: - Replies

extension Coordinator {
    private func coordinatorReply() -> CoordinatorReply {
        let uptime = now.monotonic.seconds(since: started.monotonic)
        return CoordinatorReply(
            address: configuration.address, pid: configuration.pid, uptime_s: (uptime * 1000).rounded() / 1000,
            interval_s: configuration.interval)
    }

    /// State of these computations. What /proc knows of a process is left open.
    func statusReply(_ verb: Verb, _ targets: [String]) -> CommandReply {
        var reply = CommandReply(command: verb.name)
        reply.coordinator = coordinatorReply()
        let chosen = targets.compactMap { computations[$0] }
        reply.computation = chosen.count == 1 ? chosen.first?.id : nil
        reply.processes = chosen.flatMap { computation in
            computation.workersInOrder.map { worker in
                ProcessReply(
                    pid: worker.pid, own_pid: worker.hello.ownPid, name: worker.hello.name, host: configuration.host,
                    computation: computation.id)
            }
        }
        // With no process left, what the last one came to is still worth knowing.
        let pool = chosen.isEmpty ? Array(computations.values) : chosen
        reply.last_checkpoint = pool.compactMap(\.last).max { $0.started_at < $1.started_at }
        reply.computations = chosen.map { entry($0, error: nil) }
        return reply
    }

    private func outcomeReply(_ pending: PendingRequest) -> CommandReply {
        let failures = pending.outcomes.compactMap { outcome in outcome.error.map { (outcome.computation, $0) } }
        let error: String? =
            failures.isEmpty
            ? nil
            : failures.count == 1
                ? failures[0].1 : failures.map { "computation \($0.0): \($0.1)" }.joined(separator: "; ")
        var reply = CommandReply(command: pending.verb.name, error: error)
        reply.coordinator = coordinatorReply()
        let ids = Set(pending.outcomes.map(\.computation))
        reply.computation = ids.count == 1 ? ids.first : nil
        reply.checkpoint = pending.outcomes.compactMap(\.checkpoint).max { $0.started_at < $1.started_at }
        reply.computations = pending.outcomes.compactMap { outcome in
            computations[outcome.computation].map { entry($0, error: outcome.error) }
        }
        return reply
    }

    private func entry(_ computation: Computation, error: String?) -> ComputationReply {
        var reply = ComputationReply(
            id: computation.id, name: computation.name, checkpoint_directory: computation.checkpointDirectory,
            state: computation.checkpoint == nil ? "running" : "checkpointing", interval_s: computation.interval,
            pids: computation.workersInOrder.map(\.pid), last_checkpoint: computation.last, error: error)
        reply.progress = computation.checkpoint.flatMap(progress)
        return reply
    }

    /// Sizes are left open, as what /proc knows of a process.
    private func progress(_ checkpoint: RunningCheckpoint) -> ProgressReply? {
        guard !checkpoint.partial.isEmpty, checkpoint.phase != .pausing else { return nil }
        let reached = checkpoint.members.values.map(\.reached).min() ?? .running
        return ProgressReply(
            generation: checkpoint.generation, stage: reached.name,
            elapsed_ms: (now.monotonic.seconds(since: checkpoint.started.monotonic) * 1e6).rounded() / 1000,
            processes: checkpoint.members.count, path: checkpoint.partial)
    }
}
