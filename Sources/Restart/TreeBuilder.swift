import CRestart

/// Collects the steps of a tree and keeps account of what the kernel would have made of them.
///
///     births and sessions -> terminals given up -> groups -> foreground -> helpers end -> subreapers -> zombies end
final class TreeBuilder {
    /// What is known of a slot that has been made.
    struct State {
        var session: UInt32
        var group: UInt32
    }

    let family: TreeFamily
    private(set) var steps: [crestart_tree_step] = []
    /// Of slots and of the caller (-1); missing: not born yet.
    private(set) var states: [Int: State] = [caller: State(session: 0, group: 0)]
    private(set) var slotCount: Int
    /// Numbers given to slots that are not in the family.
    private(set) var given: [UInt32] = []
    private var reserved: Set<UInt32>
    /// For helpers that end at once: one after the other has it.
    private var passingNumber: UInt32?

    static let caller = -1

    init(_ family: TreeFamily) {
        self.family = family
        slotCount = family.nodes.count
        reserved = family.reserved
    }

    func isBorn(_ slot: Int) -> Bool { states[slot] != nil }
    func session(_ slot: Int) -> UInt32? { states[slot]?.session }
    func group(_ slot: Int) -> UInt32? { states[slot]?.group }

    // MARK: - Steps

    private func add(
        _ kind: crestart_tree_kind, by actor: Int, subject: Int = 0, number: UInt32 = 0, value: UInt32 = 0
    ) {
        steps.append(
            crestart_tree_step(
                kind: kind.rawValue, actor: UInt32(truncatingIfNeeded: actor), subject: UInt32(subject),
                number: number, value: value))
    }

    func fork(_ node: Int, by actor: Int) { fork(node, by: actor, number: family.nodes[node].pid) }

    func fork(_ node: Int, by actor: Int, number: UInt32) {
        let signal = family.nodes[node].exitSignal
        add(CRESTART_TREE_FORK, by: actor, subject: node, number: number, value: signal)
        states[node] = states[actor]
    }

    /// A slot that is not in the family and says nothing to its parent at its end.
    func forkExtra(_ number: UInt32, by actor: Int) -> Int {
        let slot = slotCount
        slotCount += 1
        add(CRESTART_TREE_FORK, by: actor, subject: slot, number: number)
        states[slot] = states[actor]
        given.append(number)
        return slot
    }

    /// Becomes the child of the namespace's first process, or of `adopter`: made by a helper that ends.
    func forkOrphan(_ node: Int, near actor: Int, adopter: Int?) {
        let number = passingNumber ?? TreeFamily.free(in: &reserved)
        passingNumber = number
        let helper = forkExtra(number, by: actor)
        fork(node, by: helper)
        if let adopter { setSubreaper(adopter, true) }
        end(helper, number, of: actor)
        if let adopter { setSubreaper(adopter, false) }
    }

    func setSession(_ slot: Int, _ number: UInt32) {
        add(CRESTART_TREE_SET_SESSION, by: slot)
        states[slot] = State(session: number, group: number)
    }

    func setGroup(_ slot: Int, _ group: UInt32) {
        add(CRESTART_TREE_SET_GROUP, by: slot, number: group)
        states[slot]?.group = group
    }

    /// A process group of its own, whatever its number.
    func setOwnGroup(_ slot: Int) { add(CRESTART_TREE_SET_GROUP, by: slot) }

    func setSubreaper(_ slot: Int, _ on: Bool) { add(CRESTART_TREE_SUBREAPER, by: slot, value: on ? 1 : 0) }

    func acquireTerminal(_ leader: Int) { add(CRESTART_TREE_TERMINAL, by: leader) }
    func giveUpTerminal(_ slot: Int) { add(CRESTART_TREE_NO_TERMINAL, by: slot) }
    func setForeground(_ leader: Int, _ group: UInt32) { add(CRESTART_TREE_FOREGROUND, by: leader, number: group) }

    func end(_ slot: Int, _ number: UInt32, of parent: Int) {
        add(CRESTART_TREE_EXIT, by: slot)
        add(CRESTART_TREE_REAP, by: parent, subject: slot, number: number)
        states[slot] = nil
    }

    func endAsZombie(_ node: Int, of parent: Int) {
        let status = UInt32(bitPattern: family.nodes[node].status ?? 0)
        add(CRESTART_TREE_EXIT, by: node, value: status)
        add(CRESTART_TREE_AWAIT, by: parent, subject: node, number: family.nodes[node].pid)
    }

    func freeNumber() -> UInt32 { TreeFamily.free(in: &reserved) }
}
