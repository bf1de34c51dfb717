/// Everything about the command line of one of the five commands. The tables themselves are the static members
/// `launch`, `command`, `coordinator`, `restart` and `image`.
public struct CommandTable: Sendable {
    /// A word that says what to do, as `info` of `swiftcp_image`; operands follow it.
    public struct Subcommand: Sendable {
        let name: String
        /// Names of its operands, each of which must be given.
        let operands: [String]
        let available: Bool
        let help: String
    }

    /// What follows the options.
    enum Operands: Sendable {
        /// Nothing may follow.
        case none
        /// At least one, named so; options and operands may be mixed.
        case some(String)
        /// A command line of its own: everything from the first word on is left as it is.
        case program(String)
        /// One of `subcommands`.
        case subcommand
    }

    /// As installed: `swiftcp_launch`.
    public let name: String
    let summary: String
    let operands: Operands
    let subcommands: [Subcommand]
    let options: [Option]
    /// Exactly one option of this group must be given: `swiftcp_command`'s requests. A word without dashes does too,
    /// as in DMTCP (`swiftcp_command status`).
    let requiredGroup: String?

    init(
        _ name: String, summary: String, operands: Operands, subcommands: [Subcommand] = [],
        requiredGroup: String? = nil, options: [Option]
    ) {
        self.name = name
        self.summary = summary
        self.operands = operands
        self.subcommands = subcommands
        self.requiredGroup = requiredGroup
        self.options =
            options + [
                Option("help", help: "shows this text and ends"),
                Option("version", help: "shows the version and ends"),
            ]
    }

    /// All five, for checks that go over every table.
    public static let all: [CommandTable] = [.launch, .command, .coordinator, .restart, .image]

    func option(named name: String) -> Option? { options.first { $0.name == name } }

    func option(spelled spelling: String) -> Option? { options.first { $0.allSpellings.contains(spelling) } }
}
