import Glibc
import SystemCalls
import Wire

// Who is in a checkpoint: the set of members is closed when nobody outside belongs to the computation.
//
// A process that stands still starts no other. So when every known one does, a look through /proc finds all that are left:
// newborn ones that have not said HELLO yet, orphans, and programs without our library in them. They are waited for (each
// HELLO and each end leads to another look, and so does a short timer); who does not come in time is named.

extension Coordinator {
    mutating func childrenTold(_ children: Children, _ connection: ConnectionID, _ id: String) {
        guard computations[id]?.checkpoint?.phase == .stage(.quiesced),
            computations[id]?.checkpoint?.generation == children.generation
        else { return }  // late: of a checkpoint that was given up
        computations[id]?.checkpoint?.members[connection]?.children = children
    }

    /// Every member stands still: goes on if there is nobody else.
    mutating func closeSet(_ id: String) {
        guard let computation = computations[id], let checkpoint = computation.checkpoint,
            checkpoint.strays.scanning == nil
        else { return }
        let hasFamily = checkpoint.members.values.contains { $0.children?.hasForked == true }
        let loose = looseChildren(checkpoint)
        guard checkpoint.members.count > 1 || hasFamily || !loose.isEmpty else { return closed(id) }
        let pids = checkpoint.members.values.map(\.worker.pid)
        guard !pids.contains(0) else {  // of another pid namespace: /proc does not show them here
            return loose.isEmpty ? closed(id) : ()
        }
        var query = ScanQuery(computation: id, members: Set(pids))
        query.others = pidsOfOthers(id)
        query.isThorough = !loose.isEmpty
        let token = beginDisk(.scan(query), for: id)
        computations[id]?.checkpoint?.strays.scanning = token
    }

    private func pidsOfOthers(_ id: String) -> Set<Int32> {
        var pids: Set<Int32> = []
        for other in computations.values where other.id != id { pids.formUnion(other.workers.values.map(\.pid)) }
        return pids
    }

    private mutating func closed(_ id: String) {
        computations[id]?.checkpoint?.strays = StrayWatch()
        goOn(id, from: .quiesced)
    }

    /// Children that lived when their parent looked and are no members. A look through /proc tells whether they still live.
    func looseChildren(_ checkpoint: RunningCheckpoint) -> [String] {
        let hasChildren = checkpoint.members.values.contains { !($0.children?.processes.isEmpty ?? true) }
        guard hasChildren else { return [] }
        let known = Set(checkpoint.members.values.map(\.worker.hello.ownPid))
        return checkpoint.members.values.flatMap { member in
            (member.children?.processes ?? []).filter { !$0.isZombie && !known.contains($0.pid) }
                .map { "child \($0.pid) of \(member.worker.label)" }
        }
    }

    mutating func scanned(_ id: String, _ token: DiskToken, _ strays: [Stray]) {
        if computations[id]?.ending?.sweeping == token { return swept(id, strays) }
        guard computations[id]?.checkpoint?.strays.scanning == token else { return }
        computations[id]?.checkpoint?.strays.scanning = nil
        // Somebody came or left meanwhile: there will be another look when he stands still.
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.phase == .stage(.quiesced),
            checkpoint.waiting == 0, computations[id]?.isExecuting == false
        else { return }
        if leadNewborn(id, strays) { return }
        let before = checkpoint.strays.entries
        var entries: [Int32: StrayWatch.Entry] = [:]
        for stray in strays {
            var stray = stray
            if stray.obstacle == .stopped { stray.obstacle = nil }  // led, and about to connect
            let since = before[stray.pid]?.since ?? now.monotonic
            let entry = StrayWatch.Entry(stray: stray, since: since)
            // Whoever is between two states for so long is ending, and starts nothing any more.
            if stray.isUndecided, deadline(entry) <= now.monotonic { continue }
            entries[stray.pid] = entry
            if before[stray.pid] == nil { watch(stray.pid) }
        }
        computations[id]?.checkpoint?.strays.entries = entries
        if entries.isEmpty { return closed(id) }
        lookAgain(id, entries)
    }

    private func deadline(_ entry: StrayWatch.Entry) -> Instant {
        let limit: Double
        if entry.stray.obstacle == .withoutThread {
            limit = configuration.birthLimit
        } else {
            limit = entry.stray.isUndecided || entry.stray.obstacle != nil ? configuration.strayLimit : .infinity
        }
        return entry.since.advanced(seconds: min(configuration.quiesceLimit, limit))
    }

    private mutating func lookAgain(_ id: String, _ entries: [Int32: StrayWatch.Entry]) {
        let overdue = entries.values.filter { deadline($0) <= now.monotonic }.map(\.stray)
        if let first = overdue.min(by: { $0.pid < $1.pid }) { return failForStray(id, first) }
        let pace = computations[id]?.checkpoint?.strays.pace ?? StrayWatch.slowest
        computations[id]?.checkpoint?.strays.next = now.monotonic.advanced(seconds: pace)
        computations[id]?.checkpoint?.strays.pace = min(pace * 2, StrayWatch.slowest)
    }

    private mutating func failForStray(_ id: String, _ stray: Stray) {
        let parent = computations[id]?.workers.values.first { $0.pid == stray.parent && stray.parent > 0 }
        let family = parent.map { ", a child of \($0.label)," } ?? ""
        let reason = stray.explanation
        failCheckpoint(
            id, ENOTSUP,
            "\(stray.label)\(family) belongs to the computation, but cannot be checkpointed: \(reason); the program runs"
                + " on; try again when it has ended")
    }

    /// A process that was waited for.
    mutating func strayEnded(_ id: String, _ pid: Int32) {
        guard computations[id]?.checkpoint?.strays.entries.removeValue(forKey: pid) != nil else { return }
        passBarrier(id)
    }
}

extension Stray {
    var label: String { "process \(pid) (\(name))" }

    var explanation: String {
        switch obstacle {
        case .staticallyLinked: "it has no SwiftCP library in it, since it is statically linked"
        case .otherUser: "it runs as another user (setuid?), who cannot reach this coordinator"
        case .withoutThread:
            "it has no thread of SwiftCP's, since it was made by a raw clone system call instead of fork()"
        case .stopped: "it is stopped (by Ctrl+Z, SIGSTOP or a debugger)"
        case nil:
            "it has no SwiftCP library in it (statically linked, setuid or started with a cleaned environment)"
        }
    }
}

// MARK: - Execs

extension Coordinator {
    /// A process that has left its connection by an exec is waited for. If it has not come after a second, a look at its new
    /// program tells whether it ever will.
    mutating func awaitExecs(_ id: String) {
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.inspecting == nil,
            checkpoint.nextInspection == nil,
            let first = computations[id]?.announced.compactMap(\.since).min()
        else { return }
        computations[id]?.checkpoint?.nextInspection = max(
            first.advanced(seconds: configuration.strayLimit),
            checkpoint.started.monotonic.advanced(seconds: StrayWatch.slowest))
    }

    mutating func inspectExecs(_ id: String) {
        computations[id]?.checkpoint?.nextInspection = nil
        guard computations[id]?.checkpoint?.inspecting == nil else { return }
        let limit = now.monotonic.advanced(seconds: -configuration.strayLimit)
        let pids = (computations[id]?.announced ?? []).filter { $0.since.map { $0 <= limit } ?? false }.map(\.pid)
        let token = beginDisk(.inspect(pids), for: id)
        computations[id]?.checkpoint?.inspecting = token
    }

    func hasAnnounced(_ id: String, _ pid: Int32) -> Announcement? {
        computations[id]?.announced.first { $0.reason == .exec && $0.pid == pid }
    }

    mutating func inspected(_ id: String, _ token: DiskToken, _ strays: [Stray]) {
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.inspecting == token else { return }
        computations[id]?.checkpoint?.inspecting = nil
        guard checkpoint.phase == .gathering || checkpoint.phase == .stage(.quiesced) else { return }
        if let stray = strays.first(where: { hasAnnounced(id, $0.pid) != nil }) {
            let former = hasAnnounced(id, stray.pid)?.name ?? stray.name
            return failCheckpoint(
                id, ENOTSUP,
                "process \(stray.pid) (\(former)) has replaced its program by \(stray.name), which cannot be checkpointed:"
                    + " \(stray.explanation); the program runs on; try again when it has ended")
        }
        guard computations[id]?.isExecuting == true else { return }
        computations[id]?.checkpoint?.nextInspection = now.monotonic.advanced(seconds: configuration.strayLimit)
    }
}

// MARK: - After the end

extension Coordinator {
    /// All processes were told to end, and all that were known have: looks for those that were born meanwhile.
    mutating func sweep(_ id: String) {
        guard computations[id]?.ending?.sweeping == nil else { return }
        let query = ScanQuery(computation: id, members: [], others: pidsOfOthers(id))
        computations[id]?.ending?.nextSweep = nil
        let token = beginDisk(.scan(query), for: id)
        computations[id]?.ending?.sweeping = token
    }

    private mutating func swept(_ id: String, _ strays: [Stray]) {
        computations[id]?.ending?.sweeping = nil
        let known = Set(computations[id]?.announced.map(\.pid) ?? [])
        for stray in strays where stray.isMarked && !known.contains(stray.pid) {
            log("\(stray.label) was born while computation \(id) was ended; it is ended too")
            computations[id]?.announced.append(
                Announcement(pid: stray.pid, name: stray.name, reason: .exec, missing: 1))
            watch(stray.pid)
            effects.append(.destroy(stray.pid))
        }
        if strays.contains(where: \.isMarked) { return }
        let sweeps = (computations[id]?.ending?.sweeps ?? 0) + 1
        computations[id]?.ending?.sweeps = sweeps
        if strays.contains(where: \.isUndecided), sweeps < 20 {
            computations[id]?.ending?.nextSweep = now.monotonic.advanced(seconds: StrayWatch.slowest)
        } else {
            computations[id]?.ending?.isSwept = true
        }
    }
}
