import Restart

/// A process tree that could exist: the result of random legal calls, as the kernel's rules have them.
struct RandomTree {
    /// Group and session of whoever started the root, and that one's pid.
    static let outside: UInt32 = 250

    private struct Process {
        let pid: UInt32
        var parent: Int?  // nil: the reaper; the root's is -1
        var pgid: UInt32
        var sid: UInt32
        var exitSignal: UInt32
        var isSubreaper = false
        var status: Int32?
        var isGone = false
        var isAlive: Bool { status == nil && !isGone }
    }

    private var random: Random
    private var all: [Process] = []
    private var next: UInt32

    init(seed: UInt64, calls: Int) {
        random = Random(state: seed)
        next = 300 + UInt32.random(in: 0..<3000, using: &random)
        let pgid = Bool.random(using: &random) ? next : Self.outside
        all = [Process(pid: next, parent: -1, pgid: pgid, sid: Self.outside, exitSignal: 17)]
        for _ in 0..<calls { call() }
    }

    var root: UInt32 { all[0].pid }

    /// The set as a checkpoint would have it.
    var processes: [TreeProcess] {
        all.enumerated().filter { $1.isAlive }.map { place, process in
            var result = TreeProcess(
                pid: process.pid, ppid: process.parent.map { $0 < 0 ? 240 : all[$0].pid } ?? 1, pgid: process.pgid,
                sid: process.sid, exitSignal: process.exitSignal)
            result.isSubreaper = process.isSubreaper
            result.zombies = all.filter { $0.parent == place && $0.status != nil && !$0.isGone }.map {
                TreeZombie(
                    pid: $0.pid, pgid: $0.pgid, sid: $0.sid, exitSignal: $0.exitSignal, status: $0.status ?? 0)
            }
            return result
        }
    }

    // MARK: - Calls

    private mutating func anyAlive() -> Int {
        all.indices.filter { all[$0].isAlive }.randomElement(using: &random) ?? 0
    }

    private mutating func call() {
        let actor = anyAlive()
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<45: fork(actor)
        case 45..<55: setSession(actor)
        case 55..<70: setGroup(actor)
        case 70..<84: if actor != 0 { exit(actor) }
        case 84..<88: reap(actor)
        case 88..<93: all[actor].isSubreaper.toggle()
        default: makeDaemon(actor)
        }
    }

    @discardableResult
    private mutating func fork(_ actor: Int) -> Int {
        next += UInt32.random(in: 1...3, using: &random)
        var child = all[actor]
        child = Process(
            pid: next, parent: actor, pgid: child.pgid, sid: child.sid,
            exitSignal: [17, 17, 17, 17, 17, 17, 0, 10].randomElement(using: &random) ?? 17)
        all.append(child)
        return all.count - 1
    }

    private func groupExists(_ group: UInt32, in session: UInt32? = nil) -> Bool {
        all.contains { !$0.isGone && $0.pgid == group && (session == nil || $0.sid == session) }
    }

    private mutating func setSession(_ actor: Int) {
        guard !groupExists(all[actor].pid) else { return }
        all[actor].sid = all[actor].pid
        all[actor].pgid = all[actor].pid
    }

    private mutating func setGroup(_ actor: Int) {
        let candidates =
            [actor] + all.indices.filter { all[$0].parent == actor && all[$0].isAlive && all[$0].sid == all[actor].sid }
        guard let target = candidates.randomElement(using: &random), all[target].sid != all[target].pid else { return }
        let groups = Set(all.filter { !$0.isGone && $0.sid == all[target].sid }.map(\.pgid)).sorted()
        let group = Bool.random(using: &random) ? all[target].pid : groups.randomElement(using: &random)
        guard let group, group == all[target].pid || groupExists(group, in: all[target].sid) else { return }
        all[target].pgid = group
    }

    private mutating func exit(_ actor: Int) {
        let byCode = Bool.random(using: &random)
        all[actor].status =
            byCode ? Int32.random(in: 0..<256, using: &random) << 8 : [9, 15, 6, 34].randomElement(using: &random) ?? 9
        all[actor].isSubreaper = false
        let heir = reaper(above: actor)
        for child in all.indices where all[child].parent == actor && !all[child].isGone {
            all[child].parent = heir
            all[child].exitSignal = 17
            if heir == nil, all[child].status != nil { all[child].isGone = true }
        }
        if all[actor].parent == nil { all[actor].isGone = true }
    }

    private func reaper(above actor: Int) -> Int? {
        var current = all[actor].parent
        while let place = current, place >= 0 {
            if all[place].isSubreaper { return place }
            current = all[place].parent
        }
        return nil
    }

    private mutating func reap(_ actor: Int) {
        let zombies = all.indices.filter { all[$0].parent == actor && all[$0].status != nil && !all[$0].isGone }
        if let zombie = zombies.randomElement(using: &random) { all[zombie].isGone = true }
    }

    private mutating func makeDaemon(_ actor: Int) {
        let middle = fork(actor)
        setSession(middle)
        fork(middle)
        exit(middle)
        if Bool.random(using: &random) { all[middle].isGone = true }
    }
}

/// Marsaglia's xorshift with a multiplier: the same trees everywhere.
struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return (state | 1) &* 0x2545_f491_4f6c_dd1d
    }
}
