/// Who is made by whom, and when leaders leave for sessions of their own.
///
/// A process that leads no session is born in the one it is in. So a session leader with a child in another session
/// made it before its own setsid (an *early* child), and was then born in that session itself; or the child was an
/// orphan that the leader, a subreaper, has *adopted*. The child of a process that leads nothing and is in another
/// session can only have been adopted.
struct TreeBirths {
    private enum Kind {
        case direct
        /// Direct, before its parent's setsid.
        case early
        case adopted
    }

    private let family: TreeFamily
    private let builder: TreeBuilder
    /// The session each has to be born in; nil = any.
    private var birth: [UInt32?]
    private var kinds: [Kind]
    private var earlyLeft: [Int]
    /// Leaders that stand in for dead ones: slot and parent, by session.
    private(set) var stands: [(session: UInt32, slot: Int, parent: Int)] = []
    /// Sessions whose leader is dead.
    private let dead: [UInt32]
    private var members: [UInt32: [Int]] = [:]

    init(_ builder: TreeBuilder, _ policy: Policy) {
        family = builder.family
        self.builder = builder
        birth = family.nodes.map { $0.isLeader ? nil : $0.session }
        kinds = family.nodes.map { _ in .direct }
        earlyLeft = family.nodes.map { _ in 0 }
        let index = family.index
        dead = Set(family.nodes.map(\.session)).filter { $0 != 0 && index[$0] == nil }.sorted()
        members[0] = [TreeBuilder.caller]
        for parent in family.descending.reversed() { settle(parent, policy) }
    }

    // MARK: - Before

    /// What is made of a child that its parent, a session leader, may have made before its setsid, or adopted later.
    /// Either way it ends up the same, so the policies only differ in what can be carried out.
    enum Policy: CaseIterable {
        /// Numbers tell: a session older than the parent is the one that the parent was born in.
        case byNumber
        /// The numbers may have started again in between.
        case early
        /// Only what cannot have been adopted is early.
        case adopted
    }

    /// Its children are settled already.
    private mutating func settle(_ parent: Int, _ policy: Policy) {
        let node = family.nodes[parent]
        for child in family.children[parent] {
            guard let wanted = birth[child], wanted != node.session else { continue }
            let canBeEarly = node.isLeader && !isBelow(wanted, parent) && (birth[parent] ?? wanted) == wanted
            if canBeEarly, isEarly(child, of: node, wanted, policy) {
                birth[parent] = wanted
                kinds[child] = .early
                earlyLeft[parent] += 1
            } else {
                kinds[child] = .adopted
            }
        }
    }

    private func isEarly(_ child: Int, of parent: TreeFamily.Node, _ session: UInt32, _ policy: Policy) -> Bool {
        // The kernel gives an orphan SIGCHLD: any other signal says that it has its first parent.
        if family.nodes[child].exitSignal != 17 { return true }
        if session == 0 || family.index[session] != nil { return policy != .adopted || !parent.isSubreaper }
        // A stand-in for the session's leader can be put below any parent. The caller's child must be born in the caller's
        // session, so it is the better way there.
        switch policy {
        case .byNumber: return session < parent.pid && parent.parent != .caller
        case .early: return true
        case .adopted: return !parent.isSubreaper && parent.parent != .caller
        }
    }

    /// The session's leader descends from the node.
    private func isBelow(_ session: UInt32, _ node: Int) -> Bool {
        guard let leader = family.index[session] else { return false }
        return isBelow(leader, node)
    }

    private func isBelow(_ slot: Int, _ node: Int) -> Bool {
        var current = slot
        while current >= 0, case .node(let parent) = parent(current) {
            if parent == node { return true }
            current = parent
        }
        return false
    }

    private func parent(_ slot: Int) -> TreeFamily.Parent {
        if slot < family.nodes.count { return family.nodes[slot].parent }
        guard let stand = stands.first(where: { $0.slot == slot }), stand.parent >= 0 else { return .caller }
        return .node(stand.parent)
    }

    /// The session that the caller's child was born in, when its leader is no member: it is the caller's, then.
    var outside: UInt32? {
        for (node, wanted) in birth.enumerated() where family.nodes[node].parent == .caller {
            if let wanted, wanted != 0, family.index[wanted] == nil { return wanted }
        }
        return nil
    }

    // MARK: - The work

    /// Until all are born and all leaders lead.
    mutating func run() throws(RestartError) {
        var moved = true
        while moved {
            moved = false
            for node in family.descending where advance(node) { moved = true }
            for session in dead where advance(dead: session) { moved = true }
        }
        let left = family.nodes.indices.filter { !isComplete($0) }
        guard left.isEmpty else { throw refusal(left) }
    }

    private func isComplete(_ node: Int) -> Bool { builder.session(node) == family.nodes[node].session }

    private mutating func advance(_ node: Int) -> Bool {
        if !builder.isBorn(node) {
            guard bear(node) else { return false }
            count(node)
            lead(node)
            return true
        }
        return lead(node)
    }

    /// A member of its session, from whom others can be born into it.
    private mutating func count(_ node: Int) {
        guard let session = builder.session(node) else { return }
        members[session, default: []].append(node)
        guard kinds[node] == .early, case .node(let parent) = family.nodes[node].parent else { return }
        earlyLeft[parent] -= 1
    }

    @discardableResult
    private mutating func lead(_ node: Int) -> Bool {
        let wanted = family.nodes[node]
        guard wanted.isLeader, earlyLeft[node] == 0, builder.session(node) != wanted.session else { return false }
        if let old = builder.session(node) { members[old]?.removeAll { $0 == node } }
        builder.setSession(node, wanted.session)
        // Only who is born afterwards has the terminal too.
        if wanted.hasTerminal { builder.acquireTerminal(node) }
        members[wanted.session, default: []].append(node)
        return true
    }

    private func bear(_ node: Int) -> Bool {
        let wanted = birth[node]
        switch family.nodes[node].parent {
        case .caller:
            guard wanted == nil || wanted == 0 else { return false }
            builder.fork(node, by: TreeBuilder.caller)
        case .reaper:
            guard let near = members[wanted ?? 0]?.first else { return false }
            builder.forkOrphan(node, near: near, adopter: nil)
        case .node(let parent) where kinds[node] == .adopted:
            guard builder.isBorn(parent), let wanted,
                let near = members[wanted]?.first(where: { $0 >= 0 && isBelow($0, parent) })
            else { return false }
            builder.forkOrphan(node, near: near, adopter: parent)
        case .node(let parent):
            guard let session = builder.session(parent), wanted == nil || wanted == session else { return false }
            builder.fork(node, by: parent)
        }
        return true
    }

    /// A leader for a time, with the dead one's number. Where a subreaper has adopted members of the session, it is a
    /// descendant of that one, the deepest if there are several.
    private mutating func advance(dead session: UInt32) -> Bool {
        guard !stands.contains(where: { $0.session == session }) else { return false }
        var parent = TreeBuilder.caller
        for node in family.nodes.indices where birth[node] == session && kinds[node] == .adopted {
            guard case .node(let adopter) = family.nodes[node].parent else { continue }
            if parent < 0 || isBelow(adopter, parent) { parent = adopter }
        }
        guard builder.isBorn(parent) else { return false }
        let slot = builder.forkExtra(session, by: parent)
        builder.setSession(slot, session)
        stands.append((session, slot, parent))
        members[session, default: []].append(slot)
        return true
    }

    /// Not complete, and not only because its parent is not.
    private func isBlocked(_ node: Int) -> Bool {
        guard !isComplete(node) else { return false }
        guard case .node(let parent) = family.nodes[node].parent else { return true }
        return builder.isBorn(parent)
    }

    private func refusal(_ left: [Int]) -> RestartError {
        let first = left.filter { isBlocked($0) }
        let names = TreeFamily.names(first.map { family.nodes[$0].pid })
        return RestartError(
            "no order was found in which \(names) can be made again with their parents and sessions; as the images have"
                + " them, a parent has left its session in a way that cannot be repeated")
    }

    /// One in the session that can make a process in it.
    func member(of session: UInt32) -> Int? { members[session]?.first }
}
