/// The processes and zombies of a set with their relations in the planner's terms: parents are nodes, sessions led from
/// outside are 0, every group has a number that can exist.
struct TreeFamily {
    enum Parent: Equatable {
        /// The caller, swiftcp_restart: the parent of the root.
        case caller
        /// The first process of the namespace.
        case reaper
        case node(Int)
    }

    struct Node {
        let pid: UInt32
        var parent: Parent
        /// 0 = the caller's.
        var session: UInt32
        var group: UInt32
        let exitSignal: UInt32
        /// A zombie's.
        let status: Int32?
        let isSubreaper: Bool
        let hasTerminal: Bool
        let foreground: UInt32

        var isLeader: Bool { session == pid }
    }

    /// Processes in the order of the input, then zombies in the order of their parents.
    private(set) var nodes: [Node] = []
    private(set) var index: [UInt32: Int] = [:]
    private(set) var warnings: [String] = []
    /// Numbers in use as pid or tid.
    private(set) var used: Set<UInt32> = []
    /// Every number that means something to a process: those in use, groups, sessions, parents.
    private(set) var reserved: Set<UInt32> = [0, 1]
    /// Children of each node, in order.
    private(set) var children: [[Int]] = []
    /// Parents before children.
    private(set) var descending: [Int] = []

    /// Groups of the caller's session whose leaders are no members.
    private(set) var outerGroups: [UInt32] = []

    init(
        _ processes: [TreeProcess], root: UInt32, lent: Set<UInt32>, keepsOuterGroups: Bool
    ) throws(RestartError) {
        try add(processes, root: root)
        try link()
        nameSessions(root: root, lent: lent)
        nameGroups(keepsOuterGroups: keepsOuterGroups)
        try checkGroups()
        for node in nodes where node.exitSignal != 17 && node.status == nil {
            let signal = node.exitSignal == 0 ? "no signal" : "signal \(node.exitSignal)"
            warnings.append("process \(node.pid): its parent gets SIGCHLD at its end from now on, not \(signal)")
        }
    }

    // MARK: - Nodes

    private mutating func add(_ processes: [TreeProcess], root: UInt32) throws(RestartError) {
        for process in processes { try add(process, isRoot: process.pid == root) }
        for (parent, process) in processes.enumerated() {
            for zombie in process.zombies { try add(zombie, parent: parent) }
        }
        // Afterwards: a process that is listed later is a parent too.
        for (child, process) in processes.enumerated() where process.pid != root {
            if let parent = index[process.ppid], nodes[parent].status == nil { nodes[child].parent = .node(parent) }
        }
        for node in nodes { reserved.formUnion([node.group, node.session, node.foreground]) }
        for process in processes { reserved.insert(process.ppid) }
        reserved.formUnion(used)
    }

    private mutating func add(_ process: TreeProcess, isRoot: Bool) throws(RestartError) {
        index[process.pid] = nodes.count
        nodes.append(
            Node(
                pid: process.pid, parent: isRoot ? .caller : .reaper, session: process.sid, group: process.pgid,
                exitSignal: process.exitSignal, status: nil, isSubreaper: process.isSubreaper,
                hasTerminal: process.hasTerminal, foreground: process.foreground))
        for number in Set(process.threads).union([process.pid]) { try use(number) }
    }

    private mutating func add(_ zombie: TreeZombie, parent: Int) throws(RestartError) {
        index[zombie.pid] = nodes.count
        nodes.append(
            Node(
                pid: zombie.pid, parent: .node(parent), session: zombie.sid, group: zombie.pgid,
                exitSignal: zombie.exitSignal, status: zombie.status, isSubreaper: false, hasTerminal: false,
                foreground: 0))
        try use(zombie.pid)
        if zombie.status & 0x80 != 0, zombie.status & 0x7f != 0x7f {
            warnings.append(
                "process \(zombie.pid), which has ended: its status no longer says that it left a core file")
        }
    }

    private mutating func use(_ number: UInt32) throws(RestartError) {
        guard number != 0, number < 1 << 22 else { throw Self.damaged("\(number) cannot be the number of a process") }
        guard used.insert(number).inserted else { throw Self.damaged("two processes or threads have number \(number)") }
    }

    /// Children, and the order from the top: what it does not reach is its own ancestor.
    private mutating func link() throws(RestartError) {
        children = [[Int]](repeating: [], count: nodes.count)
        for (child, node) in nodes.enumerated() {
            if case .node(let parent) = node.parent { children[parent].append(child) } else { descending.append(child) }
        }
        var next = 0
        while next < descending.count {
            descending += children[descending[next]]
            next += 1
        }
        guard descending.count == nodes.count else {
            let reached = Set(descending)
            let lost = nodes.indices.filter { !reached.contains($0) }.map { nodes[$0].pid }
            throw Self.damaged("\(Self.names(lost)): an ancestor of itself")
        }
    }

    // MARK: - Sessions

    private mutating func nameSessions(root: UInt32, lent: Set<UInt32>) {
        var outside = lent.union([0])
        // A dead leader takes its terminal away from all: where there is one, the leader lives, outside.
        for node in nodes where index[node.session] == nil && (node.hasTerminal || node.session == 1) {
            outside.insert(node.session)
        }
        if let top = index[root].map({ nodes[$0] }), index[top.session] == nil { outside.insert(top.session) }
        for place in nodes.indices where outside.contains(nodes[place].session) { nodes[place].session = 0 }
    }

    // MARK: - Groups

    /// Groups led from outside of the pid namespace have no number in it, and 1 is the namespace's first process.
    private mutating func nameGroups(keepsOuterGroups: Bool) {
        for lost in [UInt32(0), 1] where index[lost] == nil {
            guard let change = rename(lost) else { continue }
            warnings.append(
                "process group \(lost) of \(change.members) cannot be made again: it is \(change.number) now")
        }
        for group in Set(nodes.filter { $0.session == 0 && index[$0.group] == nil }.map(\.group)).sorted() {
            if keepsOuterGroups { outerGroups.append(group) } else { rename(group) }
        }
    }

    /// The group gets the number of its first member, or a free one.
    @discardableResult
    private mutating func rename(_ group: UInt32) -> (members: String, number: UInt32)? {
        let members = nodes.indices.filter { nodes[$0].group == group }
        guard let first = members.first else { return nil }
        let isFree = !nodes.contains { $0.group == nodes[first].pid }
        let number = isFree ? nodes[first].pid : Self.free(in: &reserved)
        for member in members { nodes[member].group = number }
        return (Self.names(members.map { nodes[$0].pid }), number)
    }

    /// What the kernel never lets happen, so that a damaged image cannot make the planner go wrong.
    private func checkGroups() throws(RestartError) {
        var sessions: [UInt32: UInt32] = [:]
        for node in nodes {
            if let other = sessions.updateValue(node.session, forKey: node.group), other != node.session {
                throw Self.damaged("process group \(node.group) is in two sessions")
            }
            if node.isLeader, node.group != node.pid {
                throw Self.damaged("session leader \(node.pid) is not in its own process group")
            }
            if let leader = index[node.session], !nodes[leader].isLeader {
                throw Self.damaged("\(node.pid) is in the session of \(node.session), which leads none")
            }
            if let leader = index[node.group], nodes[leader].session != node.session {
                throw Self.damaged("\(node.pid) is in a process group of another session, \(node.group)")
            }
            for number in [node.group, node.session] where index[number] == nil && used.contains(number) {
                throw Self.damaged("a thread has the number of a process group or session, \(number)")
            }
        }
    }

    // MARK: -

    /// A number that nobody has and nobody remembers; it is reserved then. Taken from the gaps below the highest, so that
    /// it suits a namespace whose highest number is low.
    static func free(in reserved: inout Set<UInt32>) -> UInt32 {
        let highest = reserved.max() ?? 1
        var number = highest
        while number > 300, reserved.contains(number) { number -= 1 }
        if number <= 300 { number = highest + 1 }
        reserved.insert(number)
        return number
    }

    static func damaged(_ what: String) -> RestartError {
        RestartError("the set's images contradict each other: \(what)", status: 4)
    }

    /// "process 5", "processes 5, 6 and 9 more".
    static func names(_ pids: [UInt32]) -> String {
        let listed = pids.prefix(5).map { "\($0)" }.joined(separator: ", ")
        let rest = pids.count > 5 ? " and \(pids.count - 5) more" : ""
        return (pids.count == 1 ? "process " : "processes ") + listed + rest
    }
}
