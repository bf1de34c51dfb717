import CRestart

/// The order in which the processes of a set are made, so that each has its number, parent, session and group.
///
/// Pure values: nothing is called. `crestart_tree_build` carries the steps out.
package struct TreePlan {
    /// For `crestart_tree_build`. Slot n is `processes[n]`.
    package let steps: [crestart_tree_step]
    /// `crestart_tree_context.slot_count`.
    package let slotCount: UInt32
    /// Every number that is given by name: processes, their threads, helpers, leaders for a time. Ascending. In a pid
    /// namespace that has other processes all of them must be free.
    package let numbers: [UInt32]
    /// Process groups of the caller's session whose leaders are no members: they are given to processes for a time, too.
    package let outerGroups: [UInt32]
    /// What does not come back exactly: sentences.
    package let warnings: [String]

    package enum Numbers {
        /// Every process gets the number it had.
        case recorded
        /// New numbers. For one process without zombies only.
        case any
    }

    /// - Parameters:
    ///   - processes: the set, siblings in the order of their birth.
    ///   - root: pid of the one that the caller is to be the parent of; not in the set: there is none, all are orphans.
    ///   - lent: sessions led by a member that are not made again, because their terminal is the user's.
    ///   - keepsOuterGroups: false gives `outerGroups` another number.
    /// - Throws: what cannot be made, by name.
    package init(
        _ processes: [TreeProcess], root: UInt32, lent: Set<UInt32> = [], numbers: Numbers = .recorded,
        keepsOuterGroups: Bool = true
    ) throws(RestartError) {
        var family = try TreeFamily(processes, root: root, lent: lent, keepsOuterGroups: keepsOuterGroups)
        // It has left the session it was born in, but children from before have not.
        if let old = TreeBirths(TreeBuilder(family), .byNumber).outside {
            family = try TreeFamily(
                processes, root: root, lent: lent.union([old]), keepsOuterGroups: keepsOuterGroups)
        }
        let builder: TreeBuilder
        switch numbers {
        case .recorded: builder = try Self.build(family)
        case .any: builder = try Self.buildOne(family)
        }
        steps = builder.steps
        slotCount = UInt32(builder.slotCount)
        self.numbers = family.used.union(builder.given).subtracting(family.outerGroups).sorted()
        outerGroups = family.outerGroups
        warnings = family.warnings
    }

    /// The first policy that works; the first's words when none does.
    private static func build(_ family: TreeFamily) throws(RestartError) -> TreeBuilder {
        do throws(RestartError) { return try build(family, .byNumber) } catch {
            for policy in TreeBirths.Policy.allCases.dropFirst() {
                if let builder = try? build(family, policy) { return builder }
            }
            throw error
        }
    }

    private static func build(_ family: TreeFamily, _ policy: TreeBirths.Policy) throws(RestartError) -> TreeBuilder {
        let builder = TreeBuilder(family)
        var births = TreeBirths(builder, policy)
        try births.run()
        giveUpTerminals(builder)
        var groups = TreeGroups(builder, births)
        try groups.run()
        for stand in births.stands.reversed() { builder.end(stand.slot, stand.session, of: stand.parent) }
        for (slot, node) in family.nodes.enumerated() where node.isSubreaper { builder.setSubreaper(slot, true) }
        for (slot, node) in family.nodes.enumerated() where node.status != nil {
            if case .node(let parent) = node.parent { builder.endAsZombie(slot, of: parent) }
        }
        return builder
    }

    /// Everybody born after its leader has the terminal.
    private static func giveUpTerminals(_ builder: TreeBuilder) {
        let family = builder.family
        for (slot, node) in family.nodes.enumerated() where !node.isLeader && !node.hasTerminal && node.status == nil {
            guard let leader = family.index[node.session], family.nodes[leader].hasTerminal else { continue }
            builder.giveUpTerminal(slot)
        }
    }

    private static func buildOne(_ family: TreeFamily) throws(RestartError) -> TreeBuilder {
        guard family.nodes.count == 1, let node = family.nodes.first, node.parent == .caller else {
            throw RestartError(
                "the ids of \(family.nodes.count) processes cannot be given back here (no user namespaces, and they are"
                    + " not free); only a single process can be restarted under new ones")
        }
        let builder = TreeBuilder(family)
        builder.fork(0, by: TreeBuilder.caller, number: 0)
        if node.isLeader {
            builder.setSession(0, 0)
            if node.hasTerminal { builder.acquireTerminal(0) }
        } else {
            builder.setOwnGroup(0)
        }
        if node.isSubreaper { builder.setSubreaper(0, true) }
        return builder
    }
}
