/// A command line that is valid by its table. Asking for an option that the table does not have is a programming error
/// and traps.
public struct Parsed: Sendable {
    let table: CommandTable
    /// By option name, in the order given. Options without an argument hold "".
    var found: [String: [String]] = [:]

    /// What follows the options: image paths; the command words of `swiftcp_launch`; operands of a subcommand.
    public internal(set) var operands: [String] = []
    /// The word of `swiftcp_image`: `info`, `maps` … "" for commands without one.
    public internal(set) var subcommand = ""
    /// Names of options that came from the command line, not from the environment.
    var explicit: Set<String> = []

    init(table: CommandTable) { self.table = table }

    /// True when the option was given (or its variable says so).
    public func flag(_ name: String) -> Bool { !values(name).isEmpty }

    /// The last argument given for the option, else its variable's, nil if there is none.
    public func value(_ name: String) -> String? { values(name).last }

    /// All arguments of an option that may be repeated.
    public func values(_ name: String) -> [String] {
        precondition(table.option(named: name) != nil, "\(table.name) has no option --\(name)")
        return found[name] ?? []
    }

    /// How often a flag was given: `-qq` is 2.
    public func occurrences(_ name: String) -> Int { values(name).count }

    /// An option of the kind `seconds`, in whole microseconds (rounded); nil if it was not given.
    public func microseconds(_ name: String) -> UInt64? { value(name).flatMap(Number.microseconds) }

    /// An option of the kind `count`; nil if it was not given, or given without its optional argument.
    public func count(_ name: String) -> Int? { value(name).flatMap { Int($0) } }

    /// An option of the kind `signal` as the signal's number; nil if it was not given.
    public func signal(_ name: String) -> Int32? { value(name).flatMap(Signals.number) }

    /// Which option of a group was given: `parsed.chosen("request")` is "status", "checkpoint", …; for
    /// `swiftcp_launch` and `swiftcp_restart` `parsed.chosen("coordinator")` is "join-coordinator" or nil …
    public func chosen(_ group: String) -> String? {
        table.options.first { $0.group == group && found[$0.name] != nil }?.name
    }

    /// 0 = say everything, 1 = no notes, 2 = no warnings either.
    public var quietness: Int { Swift.min(2, occurrences("quiet")) }
}
