/// Process groups, when everybody is born: first each group comes to be, then everybody joins its own.
///
/// A group comes to be by its leader alone. A leader that is in another group now leaves a helper in its place until all
/// have joined; a dead one is stood in for by a process with its number, which ends then: while the group lives, the
/// kernel gives the number to nobody.
struct TreeGroups {
    private let family: TreeFamily
    private let builder: TreeBuilder
    private let births: TreeBirths
    /// Who ends when all have joined: slot, number, parent.
    private var passing: [(slot: Int, number: UInt32, parent: Int)] = []

    init(_ builder: TreeBuilder, _ births: TreeBirths) {
        family = builder.family
        self.builder = builder
        self.births = births
    }

    mutating func run() throws(RestartError) {
        var made: Set<UInt32> = []
        for node in family.nodes {
            if made.insert(node.group).inserted { try make(node.group, in: node.session) }
            guard node.foreground != 0, made.insert(node.foreground).inserted else { continue }
            try make(node.foreground, in: node.session)
        }
        for (slot, node) in family.nodes.enumerated() where builder.group(slot) != node.group {
            builder.setGroup(slot, node.group)
        }
        for (slot, node) in family.nodes.enumerated() where node.isLeader && node.foreground != 0 {
            builder.setForeground(slot, node.foreground)
        }
        for helper in passing { builder.end(helper.slot, helper.number, of: helper.parent) }
    }

    private mutating func make(_ group: UInt32, in session: UInt32) throws(RestartError) {
        guard group != session else { return }  // it came with the session
        if let leader = family.index[group] {
            builder.setGroup(leader, group)
            guard family.nodes[leader].group != group else { return }
            let number = builder.freeNumber()
            passing.append((builder.forkExtra(number, by: leader), number, leader))
        } else {
            guard let parent = births.member(of: session) else {
                throw TreeFamily.damaged("nobody is in session \(session)")
            }
            let stand = builder.forkExtra(group, by: parent)
            builder.setGroup(stand, group)
            passing.append((stand, group, parent))
        }
    }
}
