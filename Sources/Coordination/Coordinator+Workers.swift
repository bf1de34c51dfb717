import Formats
import Glibc
import ImageFormat
import SystemCalls
import Wire

// Processes come and go.

extension Coordinator {
    /// LAUNCH: a process is about to come.
    mutating func announced(_ launch: Launch, _ connection: ConnectionID, _ peer: PeerCredentials) {
        clients[connection]?.role = .asking
        do throws(Refusal) {
            let id = try launch.join ? computationToJoin(launch) : newComputation(launch)
            let reason: Announcement.Reason = launch.restart ? .restart : .launch
            // swiftcp_restart stays as the parent: as long as it lives its processes may come. Their pids are those of
            // another namespace perhaps.
            let pid = launch.restart || launch.pid == 0 ? peer.pid : Int32(truncatingIfNeeded: launch.pid)
            computations[id]?.announced.append(
                Announcement(
                    pid: pid, name: launch.name, reason: reason, isRoot: !launch.join && !launch.restart,
                    missing: max(launch.processes, 1)))
            if launch.restart { recallRoot(id, launch) }
            computations[id]?.endedAt = nil
            watch(pid)
            effects.append(
                .send(
                    connection,
                    .launched(Launched(coordinatorPid: UInt32(bitPattern: configuration.pid), computation: id))))
            log("\(launch.name) (process \(pid)) starts in computation \(id)")
        } catch {
            effects.append(.send(connection, .launched(Launched(error: error.code, text: error.text))))
        }
    }

    struct Refusal: Error {
        let code: Int32
        let text: String
        init(_ code: Int32, _ text: String) { (self.code, self.text) = (code, text) }
    }

    private func computationToJoin(_ launch: Launch) throws(Refusal) -> String {
        if quitting { throw Refusal(ESHUTDOWN, "this coordinator is about to end; try again") }
        let living = living
        if !launch.computation.isEmpty, living.contains(where: { $0.id == launch.computation }) {
            return launch.computation
        }
        guard let only = living.first else {
            throw Refusal(ESRCH, "there is no computation to join at \(configuration.address); start one first")
        }
        guard living.count == 1 else {
            let list = living.map(\.id).joined(separator: ", ")
            throw Refusal(
                EEXIST, "several computations run at \(configuration.address) (\(list)); name the one to join")
        }
        return only.id
    }

    private mutating func newComputation(_ launch: Launch) throws(Refusal) -> String {
        if quitting { throw Refusal(ESHUTDOWN, "this coordinator is about to end; try again") }
        let id = launch.computation.isEmpty ? makeComputationID() : launch.computation
        try checkID(id)
        guard launch.checkpointDirectory.hasPrefix("/") else {
            throw Refusal(EINVAL, "the checkpoint folder \"\(launch.checkpointDirectory)\" is no absolute path")
        }
        try checkGeneration(launch.generation)
        if let other = computations[id], other.isAlive {
            let count = max(other.workers.count, 1)
            // Killed, or its last process has just gone: whoever restarts it at once is to wait, not to be turned away.
            throw Refusal(
                other.isAboutToEnd ? EAGAIN : EEXIST,
                "computation \(id) runs already at \(configuration.address) with \(count) process"
                    + "\(count == 1 ? "" : "es"); end it first (swiftcp_command --kill)")
        }
        var computation = Computation(
            id: id, serial: newSerial(), name: launch.name.isEmpty ? "program" : launch.name,
            checkpointDirectory: launch.checkpointDirectory, keep: launch.keep == 0 ? configuration.keep : launch.keep,
            interval: launch.interval.map { Double($0) / 1e6 } ?? configuration.interval,
            incarnation: makeComputationID())
        computation.command = launch.command
        computation.directory = launch.directory
        computation.snapshot = launch.snapshot
        computation.checkpointFlags = launch.checkpointFlags
        (computation.compression, computation.ioLimit) = (launch.compression, launch.ioLimit)
        computation.incremental = launch.incremental
        computation.highestGeneration = launch.generation
        computations[id] = computation
        return id
    }

    /// A restart says who the root is by its pid; one that does not finds it in the folder, if that is still the same.
    private mutating func recallRoot(_ id: String, _ launch: Launch) {
        if launch.pid != 0 {
            computations[id]?.root = launch.pid
            return
        }
        let token = beginDisk(.recall(directory: launch.checkpointDirectory, id: id), for: id)
        computations[id]?.recalling = token
        computations[id]?.recallsRootAlone = true
    }

    private func checkID(_ id: String) throws(Refusal) {
        guard !id.isEmpty, id.utf8.count < 64, CheckpointNames.fileSafe(id) == id else {
            throw Refusal(EINVAL, "\"\(id)\" is no id of a computation (letters, digits, '.', '+' and '-')")
        }
    }

    /// Numbers are counted up from here: one near the end of its type is nonsense or hostile.
    private func checkGeneration(_ number: UInt32) throws(Refusal) {
        guard number < 1 << 30 else { throw Refusal(EINVAL, "\(number) is no number of a generation") }
    }

    /// HELLO: a process is there.
    mutating func greeted(_ hello: Hello, _ connection: ConnectionID, _ peer: PeerCredentials) {
        do throws(Refusal) {
            try admit(hello, peer)
        } catch {
            log("refused process \(peer.pid) (\(hello.name)): \(error.text)")
            effects.append(
                .send(connection, .welcome(Welcome(error: UInt32(bitPattern: error.code), text: error.text))))
            return dismiss(connection)
        }
        let id = hello.computation
        let worker = Worker(connection: connection, pid: peer.pid, hello: hello)
        clients[connection]?.role = .worker(computation: id)
        effects.append(.send(connection, .welcome(Welcome())))
        settleAnnouncement(id, worker)
        computations[id]?.workers[connection] = worker
        computations[id]?.byOwnPid[hello.ownPid] = connection
        computations[id]?.endedAt = nil
        scheduleInterval(id)
        log("\(worker.label) has joined computation \(id)")
        if computations[id]?.ending != nil {
            effects.append(.send(connection, .kill))
            return watch(worker.pid)
        }
        joinCheckpoint(id, worker)
    }

    /// A process of a computation that is not known yet: this coordinator was started after another one had died.
    private mutating func admit(_ hello: Hello, _ peer: PeerCredentials) throws(Refusal) {
        if let known = computations[hello.computation] {
            if let other = known.byOwnPid[hello.ownPid].flatMap({ known.workers[$0] }) {
                // After an exec the new connection may be seen before the end of the old one.
                if other.pid == peer.pid, peer.pid > 0 { return dismiss(other.connection) }
                throw Refusal(EEXIST, "\(other.label) of computation \(known.id) has the pid \(hello.ownPid) already")
            }
            return
        }
        try checkID(hello.computation)
        guard hello.checkpointDirectory.hasPrefix("/") else {
            throw Refusal(EINVAL, "the checkpoint folder \"\(hello.checkpointDirectory)\" is no absolute path")
        }
        try checkGeneration(hello.generation)
        var computation = Computation(
            id: hello.computation, serial: newSerial(), name: hello.name.isEmpty ? "program" : hello.name,
            checkpointDirectory: hello.checkpointDirectory, keep: configuration.keep, interval: configuration.interval,
            incarnation: makeComputationID())
        computation.highestGeneration = hello.generation
        computations[hello.computation] = computation
        let token = beginDisk(
            .recall(directory: hello.checkpointDirectory, id: hello.computation), for: hello.computation)
        computations[hello.computation]?.recalling = token
    }

    /// What the earlier coordinator knew, if it left it.
    mutating func recalled(_ id: String, _ token: DiskToken, _ settings: ComputationSettings?) {
        guard computations[id]?.recalling == token else { return }
        computations[id]?.recalling = nil
        guard let settings else { return }
        if computations[id]?.recallsRootAlone == true {
            computations[id]?.root = settings.root ?? 0
            return
        }
        computations[id]?.adopt(settings)
        computations[id]?.nextInterval = nil
        scheduleInterval(id)
    }

    /// Takes the process off the list of those to come.
    private mutating func settleAnnouncement(_ id: String, _ worker: Worker) {
        guard var announced = computations[id]?.announced else { return }
        let own = Int32(truncatingIfNeeded: worker.hello.ownPid)
        let index =
            announced.firstIndex { $0.reason != .restart && ($0.pid == worker.pid || $0.pid == own) }
            ?? (worker.hello.restarted ? announced.firstIndex { $0.reason == .restart } : nil)
        guard let index else { return }
        if announced[index].isRoot { computations[id]?.root = worker.hello.ownPid }
        announced[index].missing -= 1
        if announced[index].missing == 0 { announced.remove(at: index) }
        computations[id]?.announced = announced
    }

    /// The connection is gone. The process may live on (exec): it counts as announced until it is known to have ended.
    mutating func workerGone(_ connection: ConnectionID, _ id: String) {
        guard let worker = computations[id]?.workers.removeValue(forKey: connection) else { return }
        let ownPid = worker.hello.ownPid
        if computations[id]?.byOwnPid[ownPid] == connection { computations[id]?.byOwnPid[ownPid] = nil }
        if worker.pid > 0 {
            computations[id]?.announced.append(
                Announcement(
                    pid: worker.pid, name: worker.hello.name, reason: .exec, ownPid: ownPid, since: now.monotonic,
                    missing: 1))
            watch(worker.pid)
        } else {
            log("\(worker.label) has left computation \(id)")
        }
        checkpointMemberGone(id, worker)
    }

    mutating func processEnded(_ pid: Int32) {
        for id in identifiers {
            strayEnded(id, pid)
            guard let gone = computations[id]?.announced.first(where: { $0.pid == pid }) else { continue }
            computations[id]?.announced.removeAll { $0.pid == pid }
            log("process \(pid) (\(gone.name)) has left computation \(id)")
            if gone.ownPid != 0, gone.ownPid == computations[id]?.root {
                computations[id]?.root = 0
                computations[id]?.rootHasEnded = true
            }
            announcedChanged(id)
        }
    }

    mutating func watch(_ pid: Int32) {
        if pid > 0 { effects.append(.watch(pid)) }
    }
}
