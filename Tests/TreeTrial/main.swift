// Makes random process trees in namespaces of their own and compares what the kernel says of them with what was wanted.
//
//     swiftcp_tree_trial COUNT [FIRST-SEED [CALLS]] [--show]   (--show: what is not identical is listed)
//
// Every third is also built while one of its numbers is taken: that must fail and leave nobody behind.
// The last line: "N identical, N refused, N wrong". Exit status 0 when none is wrong and no more than a tenth refused.
import CRestart
import CSwiftCP
import Glibc
import Restart
import TreeTrialCalls

enum Outcome: Int32 {
    case identical = 0
    case refused = 1
    case wrong = 2
}

/// Unbuffered: nothing of it is written twice after a fork.
func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(1, line, line.count)
}

func spaces() -> crestart_spaces {
    var spaces = crestart_spaces()
    (spaces.user, spaces.group, spaces.last_pid) = (geteuid(), getegid(), 30000)
    spaces.flags = CRESTART_SPACE_PID.rawValue
    if geteuid() != 0 { spaces.flags |= CRESTART_SPACE_USER.rawValue }
    return spaces
}

/// Reads one report of each process; missing ones are missing in the result.
func reports(_ descriptor: Int32, count: Int) -> [UInt32: trial_report] {
    var result: [UInt32: trial_report] = [:]
    for _ in 0..<count {
        var report = trial_report()
        guard scp_poll(descriptor, Int32(POLLIN), 10000) > 0 else { break }
        let size = MemoryLayout<trial_report>.size
        guard read(descriptor, &report, size) == size else { break }
        result[report.pid] = report
    }
    return result
}

/// What one build needs, and what has become of it.
final class Build {
    private let ends = UnsafeMutablePointer<trial_ends>.allocate(capacity: 1)
    private let steps: [crestart_tree_step]
    private var context = crestart_tree_context()
    private var tell: [Int32] = [0, 0]
    private var hold: [Int32] = [0, 0]
    private(set) var pids: [Int32]
    private(set) var message = ""

    init(_ steps: [crestart_tree_step], processes: Int, slots: UInt32) {
        self.steps = steps
        pids = [Int32](repeating: 0, count: processes)
        guard pipe(&tell) == 0, pipe(&hold) == 0 else { fatalError("no pipe: errno \(errno)") }
        ends.initialize(to: trial_ends(reports: tell[1], hold: hold[0]))
        trial_fill(&context, ends)
        (context.process_count, context.slot_count, context.limit_ms) = (UInt32(processes), slots, 10000)
    }

    func run() -> Int32 {
        var words = crestart_message()
        let result = crestart_tree_build(steps, steps.count, &context, &pids, &words)
        message = withUnsafeBytes(of: words.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return result
    }

    func reports() -> [UInt32: trial_report] { swiftcp_tree_trial.reports(tell[0], count: pids.count) }

    deinit {
        for descriptor in tell + hold { close(descriptor) }
        ends.deallocate()
    }
}

/// In a process of its own, which enters the namespaces.
func trial(_ tree: RandomTree, _ plan: TreePlan, failing: Bool) -> [String] {
    var (wanted, reaper) = (spaces(), crestart_reaper())
    let entered = crestart_spaces_enter(&wanted)
    guard entered == 0 else { return ["namespaces: errno \(-entered)"] }
    let started = crestart_reaper_start(&wanted, &reaper)
    guard started == 0 else { return ["reaper: errno \(-started)"] }
    defer { kill(reaper.pid, SIGKILL) }
    let processes = tree.processes
    let before = failing ? failure(tree, plan) : []
    let build = Build(plan.steps, processes: processes.count, slots: plan.slotCount)
    guard build.run() == 0 else { return before + [build.message] }
    var comparison = Comparison()
    comparison.compare(processes, root: tree.root, reports: build.reports())
    return before + comparison.differences + outsideView(build.pids)
}

/// Somebody has a number of the tree's: the build fails, says so, and leaves nobody behind.
func failure(_ tree: RandomTree, _ plan: TreePlan) -> [String] {
    let forks = plan.steps.filter { $0.kind == CRESTART_TREE_FORK.rawValue }
    guard var step = forks.dropFirst(forks.count / 2).first else { return [] }
    (step.actor, step.subject, step.value) = (UInt32.max, 0, UInt32(SIGCHLD))
    let occupant = Build([step], processes: 1, slots: 1)
    guard occupant.run() == 0 else { return ["occupying \(step.number): \(occupant.message)"] }
    let build = Build(plan.steps, processes: tree.processes.count, slots: plan.slotCount)
    let result = build.run()
    var wrong = result == -EEXIST ? [] : ["a taken number: \(result), not \(-EEXIST)"]
    if !build.message.contains("process \(step.number):") { wrong.append("a taken number: \(build.message)") }
    kill(occupant.pids[0], SIGKILL)
    waitpid(occupant.pids[0], nil, 0)
    // The first process of the namespace reaps orphans, as fast as it can.
    var left = 10_000
    while left > 0, population() > 1 {
        _ = poll(nil, 0, 1)
        left -= 1
    }
    return population() == 1 ? wrong : wrong + ["a taken number: \(population() - 1) processes are left"]
}

/// Processes of the namespace.
func population() -> Int {
    guard let folder = opendir("/proc") else { return -1 }
    defer { closedir(folder) }
    var count = 0
    while let entry = readdir(folder) {
        let first = withUnsafeBytes(of: entry.pointee.d_name) { $0[0] }
        if first >= UInt8(ascii: "0"), first <= UInt8(ascii: "9") { count += 1 }
    }
    return count
}

/// The caller's numbers are those of living processes here.
func outsideView(_ pids: [Int32]) -> [String] {
    pids.filter { kill($0, 0) != 0 }.map { "\($0) is nobody's number outside" }
}

func show(_ tree: RandomTree) {
    guard CommandLine.arguments.contains("--show") else { return }
    for process in tree.processes {
        let flag = process.isSubreaper ? " subreaper" : ""
        say(
            "  \(process.pid): parent \(process.ppid) group \(process.pgid) session \(process.sid)"
                + " signal \(process.exitSignal)\(flag)")
        for zombie in process.zombies {
            say("    zombie \(zombie.pid): group \(zombie.pgid) session \(zombie.sid) signal \(zombie.exitSignal)")
        }
    }
}

func run(_ seed: UInt64, calls: Int, totals: inout (processes: Int, zombies: Int)) -> Outcome {
    let tree = RandomTree(seed: seed &* 0x9e37_79b9_7f4a_7c15 | 1, calls: calls)
    let plan: TreePlan
    do { plan = try TreePlan(tree.processes, root: tree.root) } catch {
        say("seed \(seed): refused: \(error.message)")
        show(tree)
        return .refused
    }
    totals.processes += tree.processes.count
    totals.zombies += tree.processes.reduce(0) { $0 + $1.zombies.count }
    let child = scp_fork()
    if child == 0 {
        let differences = trial(tree, plan, failing: seed % 3 == 0)
        if !differences.isEmpty { show(tree) }
        for line in differences.prefix(10) { say("seed \(seed): \(line)") }
        _exit(differences.isEmpty ? 0 : 2)
    }
    var state = scp_child()
    var left = 60_000
    while left > 0, scp_child_state(child, &state) == 0, state.event == SCP_CHILD_NONE.rawValue {
        _ = poll(nil, 0, 1)
        left -= 1
    }
    return state.event == SCP_CHILD_EXITED.rawValue && state.value == 0 ? .identical : .wrong
}

let words = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
let count = words.first ?? 20
let first = words.dropFirst().first ?? 1
let calls = words.dropFirst(2).first.map(Int.init)
var totals = (processes: 0, zombies: 0)
var outcomes: [Outcome: Int] = [:]
for seed in first..<(first + count) {
    outcomes[run(seed, calls: calls ?? 20 + Int(seed % 150), totals: &totals), default: 0] += 1
}
let (refused, wrong) = (outcomes[.refused] ?? 0, outcomes[.wrong] ?? 0)
say("\(totals.processes) processes, \(totals.zombies) zombies")
say("\(outcomes[.identical] ?? 0) identical, \(refused) refused, \(wrong) wrong")
exit(wrong == 0 && refused * 10 <= Int(count) ? 0 : 1)
