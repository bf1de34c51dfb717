import CRestart
import Testing

@testable import Restart

/// Session and group of whoever started the root.
private let shell: UInt32 = 250

private func process(
    _ pid: UInt32, parent: UInt32, group: UInt32? = nil, session: UInt32 = shell, signal: UInt32 = 17,
    subreaper: Bool = false
) -> TreeProcess {
    var result = TreeProcess(pid: pid, ppid: parent, pgid: group ?? pid, sid: session, exitSignal: signal)
    result.isSubreaper = subreaper
    return result
}

/// Plans and replays; the first process is the root.
private func differences(_ processes: [TreeProcess]) throws -> [String] {
    let root = try #require(processes.first?.pid)
    return TreeReplay(try TreePlan(processes, root: root)).differences(processes, root: root, outside: [shell])
}

private func kinds(_ plan: TreePlan) -> [UInt32] { plan.steps.map(\.kind) }

@Suite("The plan of a process tree")
struct TreePlanTests {
    @Test("One process that leads its group takes two steps")
    func one() throws {
        let plan = try TreePlan([process(300, parent: 240)], root: 300)
        #expect(kinds(plan) == [CRESTART_TREE_FORK.rawValue, CRESTART_TREE_SET_GROUP.rawValue])
        #expect(plan.numbers == [300] && plan.outerGroups.isEmpty && plan.warnings.isEmpty && plan.slotCount == 1)
        #expect(try differences([process(300, parent: 240)]) == [])
    }

    @Test("A group led from outside comes to be by somebody with its number, who ends")
    func outerGroup() throws {
        let processes = [process(300, parent: 240, group: 290)]
        let plan = try TreePlan(processes, root: 300)
        #expect(plan.outerGroups == [290] && plan.numbers == [300])
        #expect(try differences(processes) == [])
    }

    @Test("Where its number is taken, such a group gets the number of a member")
    func outerGroupTaken() throws {
        let processes = [process(300, parent: 240, group: 290), process(301, parent: 300, group: 290)]
        let plan = try TreePlan(processes, root: 300, keepsOuterGroups: false)
        let replay = TreeReplay(plan)
        #expect(replay.faults == [] && plan.outerGroups.isEmpty)
        #expect([0, 1].map { replay.slots[$0]?.pgid } == [300, 300])
    }

    @Test("A pipeline, background jobs and a session of its own come back")
    func jobs() throws {
        #expect(
            try differences([
                process(300, parent: 240),
                process(310, parent: 300), process(311, parent: 300, group: 310), process(312, parent: 300, group: 310),
                process(320, parent: 300, session: 320), process(321, parent: 320, group: 320, session: 320),
                process(322, parent: 320, session: 320), process(323, parent: 322, group: 322, session: 320),
            ]) == [])
    }

    @Test("A daemon whose session leader is dead comes back as an orphan in that session")
    func daemon() throws {
        #expect(
            try differences([
                process(300, parent: 240),
                process(312, parent: 1, group: 311, session: 311), process(315, parent: 312, group: 311, session: 311),
                process(320, parent: 1, group: 300),
            ]) == [])
    }

    @Test("Children from before their parent's setsid are born first, over several generations")
    func early() throws {
        #expect(
            try differences([
                process(300, parent: 240),
                process(301, parent: 300, session: 301), process(302, parent: 301, session: 302),
                process(303, parent: 302, group: 300), process(304, parent: 303, session: 304),
            ]) == [])
    }

    @Test("A root that has left the session it was started in keeps the children from before")
    func rootLeft() throws {
        let processes = [
            process(300, parent: 240, session: 300), process(301, parent: 300, group: shell),
            process(302, parent: 300, group: shell, signal: 10),
        ]
        #expect(try differences(processes) == [])
    }

    @Test("Orphans go to the subreaper that adopted them")
    func adopted() throws {
        #expect(
            try differences([
                process(300, parent: 240, subreaper: true),
                process(310, parent: 300, group: 300),
                process(320, parent: 310, session: 320), process(325, parent: 300, group: 320, session: 320),
                process(332, parent: 300, group: 331, session: 331),
                process(340, parent: 310, session: 340, subreaper: true),
                process(342, parent: 340, group: 341, session: 341),
            ]) == [])
    }

    @Test("Groups whose leader is dead, or has gone over to another group, come back")
    func ledByOthers() throws {
        #expect(
            try differences([
                process(300, parent: 240),
                process(301, parent: 300, group: 302), process(302, parent: 300, group: 301),
                process(303, parent: 300, group: 299), process(304, parent: 300, group: 299),
                process(305, parent: 300, group: 300), process(306, parent: 300, group: 305),
            ]) == [])
    }

    @Test("Zombies end as they had ended, also session leaders and adopted ones")
    func zombies() throws {
        var root = process(300, parent: 240, subreaper: true)
        root.zombies = [
            TreeZombie(pid: 301, pgid: 301, sid: 301, status: 7 << 8),
            TreeZombie(pid: 302, pgid: 300, sid: shell, exitSignal: 0, status: 9),
            TreeZombie(pid: 304, pgid: 301, sid: 301, status: 0),
        ]
        #expect(try differences([root, process(303, parent: 1, group: 301, session: 301)]).isEmpty)
        #expect(try differences([root, process(303, parent: 300, group: 301, session: 301)]).isEmpty)
    }

    @Test("The members of a session have its terminal, but those that have given it up")
    func terminal() throws {
        var leader = process(310, parent: 300, session: 310)
        leader.hasTerminal = true
        leader.foreground = 305
        var member = process(311, parent: 310, session: 310)
        member.hasTerminal = true
        let processes = [
            process(300, parent: 240), leader, member, process(312, parent: 310, group: 310, session: 310),
        ]
        #expect(try differences(processes) == [])
        let plan = try TreePlan(processes, root: 300)
        #expect(TreeReplay(plan).foreground == [1: 305])
    }

    @Test("A session lent to the user's terminal stays the caller's")
    func lent() throws {
        var root = process(300, parent: 240, session: 300)
        root.hasTerminal = true
        var child = process(301, parent: 300, session: 300)
        child.hasTerminal = true
        let replay = TreeReplay(try TreePlan([root, child], root: 300, lent: [300]))
        #expect(replay.faults == [] && replay.slots[0]?.sid == 0 && replay.slots[1]?.sid == 0)
        #expect(replay.slots[0]?.pgid == 300 && replay.slots[1]?.pgid == 301)
    }

    @Test("Helpers get numbers that nobody has or remembers")
    func helpers() throws {
        var daemon = process(305, parent: 1, group: 303, session: 302)
        daemon.threads = [305, 306, 308]
        let processes = [process(300, parent: 307), daemon, process(309, parent: 305, group: 302, session: 302)]
        let plan = try TreePlan(processes, root: 300)
        let forks = plan.steps.filter { $0.kind == CRESTART_TREE_FORK.rawValue }.map(\.number)
        #expect(Set(forks).isDisjoint(with: [0, 1, 306, 307, 308]) && Set(plan.numbers).isSuperset(of: [306, 308]))
        #expect(TreeReplay(plan).differences(processes, root: 300, outside: [shell]) == [])
    }

    @Test("What does not come back exactly is said")
    func warnings() throws {
        var root = process(300, parent: 240)
        root.zombies = [TreeZombie(pid: 301, pgid: 300, sid: shell, status: 0x8b)]
        let plan = try TreePlan(
            [root, process(302, parent: 300, signal: 10), process(303, parent: 300, group: 1)], root: 300)
        #expect(plan.warnings.count == 3)
        #expect(plan.warnings.contains { $0.contains("302") && $0.contains("signal 10") })
        #expect(plan.warnings.contains { $0.contains("301") && $0.contains("core file") })
        #expect(plan.warnings.contains { $0.contains("process group 1") && $0.contains("303") })
    }

    @Test("New numbers are for a single process")
    func anyNumbers() throws {
        let plan = try TreePlan([process(300, parent: 240, session: 300)], root: 300, numbers: .any)
        #expect(plan.steps.map(\.number) == [0, 0])
        #expect(kinds(plan) == [CRESTART_TREE_FORK.rawValue, CRESTART_TREE_SET_SESSION.rawValue])
        let two = [process(300, parent: 240), process(301, parent: 300)]
        #expect(throws: RestartError.self) { try TreePlan(two, root: 300, numbers: .any) }
    }

    @Test(
        "Contradictions are refused by name",
        arguments: [
            ([process(300, parent: 240), process(300, parent: 300)], "number 300"),
            ([process(300, parent: 240), process(0, parent: 300)], "0 cannot be"),
            ([process(300, parent: 240), process(5_000_000, parent: 300)], "5000000 cannot be"),
            ([process(300, parent: 240), process(301, parent: 302), process(302, parent: 301)], "301, 302"),
            ([process(300, parent: 240), process(301, parent: 300, group: 299, session: 301)], "leader 301"),
            ([process(300, parent: 240), process(301, parent: 300, session: 300)], "300, which leads none"),
            (
                [
                    process(300, parent: 240), process(301, parent: 300, session: 301),
                    process(302, parent: 300, group: 301),
                ],
                "group 301"
            ),
        ])
    func contradictions(_ processes: [TreeProcess], _ words: String) {
        do {
            _ = try TreePlan(processes, root: 300)
            Issue.record("it was planned")
        } catch { #expect(error.message.contains(words), "\(error.message)") }
    }

    @Test("What no order can make is refused by name")
    func impossible() {
        // Its session's leader was never below its parent, which leads no session and is no older.
        let processes = [
            process(300, parent: 240), process(301, parent: 300, group: 300), process(400, parent: 300, session: 400),
            process(402, parent: 301, group: 400, session: 400),
        ]
        do {
            _ = try TreePlan(processes, root: 300)
            Issue.record("it was planned")
        } catch { #expect(error.message.contains("process 402")) }
    }

    @Test("A thousand processes are planned in a short time", .timeLimit(.minutes(1)))
    func many() throws {
        var processes = [process(300, parent: 240)]
        for pid in UInt32(301)...1300 { processes.append(process(pid, parent: pid % 7 == 0 ? pid - 1 : 300)) }
        let clock = ContinuousClock()
        let start = clock.now
        #expect(try differences(processes).isEmpty)
        #expect(clock.now - start < .seconds(30))
    }
}
