/// One option of a command, as its table declares it. The parser, `--help`, the shell completions and the check of
/// the man pages are all made from this.
public struct Option: Sendable {
    /// What an option takes, and which texts are valid for it. The parser checks it, so that a command may rely on it.
    public enum Value: Sendable {
        /// Nothing: `--json`.
        case none
        /// Any text that is not empty.
        case text(String)
        case file(String)
        case folder(String)
        /// A number of seconds, 0 or more, fractions allowed; read it with `Parsed.microseconds`.
        case seconds(String)
        /// A whole number in a range; read it with `Parsed.count`.
        case count(String, ClosedRange<Int>)
        /// The same, but the argument may be left out; it is only taken from `--option=N`.
        case optionalCount(String, ClosedRange<Int>)
        /// One of these words.
        case choice([Choice])
        /// `unix:PATH` or `tcp:HOST:PORT`.
        case address(String)
        /// A signal by name (`USR2`, `SIGUSR2`) or number; read it with `Parsed.signal`.
        case signal(String)

        /// The argument's name in help texts, nil without one.
        var argumentName: String? {
            switch self {
            case .none: nil
            case .text(let name), .file(let name), .folder(let name), .seconds(let name), .address(let name),
                .signal(let name):
                name
            case .count(let name, _), .optionalCount(let name, _): name
            case .choice(let choices): choices.map(\.text).joined(separator: "|")
            }
        }
    }

    /// A word of a `choice`.
    public struct Choice: Sendable {
        let word: String
        /// `WORD:N` is valid too, with N of this range.
        let levels: ClosedRange<Int>?
        let available: Bool
        init(_ word: String, levels: ClosedRange<Int>? = nil, available: Bool = true) {
            self.word = word
            self.levels = levels
            self.available = available
        }

        /// As help texts show it.
        var text: String { levels == nil ? word : "\(word)[:LEVEL]" }
    }

    /// Without the leading dashes; the name by which `Parsed` is asked.
    public let name: String
    /// Other spellings with their dashes: `-i`, `-bc`.
    let spellings: [String]
    let value: Value
    /// The variable that sets the option when the command line does not.
    let environment: String?
    /// False: a later release brings it, until then its use is refused.
    let available: Bool
    /// Of the options of one group at most one may be given.
    let group: String?
    /// True: may be given several times (`Parsed.values`, `Parsed.occurrences`); else the last one counts.
    let repeats: Bool
    let help: String

    init(
        _ name: String, _ spellings: [String] = [], _ value: Value = .none, environment: String? = nil,
        available: Bool = true, group: String? = nil, repeats: Bool = false, help: String
    ) {
        self.name = name
        self.spellings = spellings
        self.value = value
        self.environment = environment
        self.available = available
        self.group = group
        self.repeats = repeats
        self.help = help
    }

    /// Every spelling with its dashes, short ones first, as help texts show them.
    var allSpellings: [String] { spellings + ["--" + name] }

    var takesArgument: Bool {
        switch value {
        case .none, .optionalCount: false
        default: true
        }
    }
}
