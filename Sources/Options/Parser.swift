/// What a command line asks for.
public enum Invocation: Sendable {
    case run(Parsed)
    /// `--help`, `--version`, `--generate-completion`: print this to stdout and end with status 0.
    case print(String)
}

extension CommandTable {
    /// Reads a command line. Pure: nothing is printed, nothing but the arguments is looked at.
    ///
    /// - Parameters:
    ///   - arguments: without the command's own name.
    ///   - environment: looks a variable up; an empty value counts as none.
    /// - Throws: `UsageError` for what the table does not allow, and for options of a later release.
    public func parse(_ arguments: [String], environment: (String) -> String?) throws(UsageError) -> Invocation {
        var parser = Parser(table: self, rest: arguments[...])
        if let text = try parser.scan() { return .print(text) }
        try parser.applyEnvironment(environment)
        try parser.checkWhole()
        return .run(parser.parsed)
    }
}

private struct Parser {
    let table: CommandTable
    var rest: ArraySlice<String>
    var parsed: Parsed

    init(table: CommandTable, rest: ArraySlice<String>) {
        self.table = table
        self.rest = rest
        parsed = Parsed(table: table)
    }

    /// Takes all arguments. Returns a text to print if one of them asks for that.
    mutating func scan() throws(UsageError) -> String? {
        while let word = rest.popFirst() {
            if word == "--" {
                parsed.operands += rest
                break
            } else if word.hasPrefix("--") {
                if let text = try long(word) { return text }
            } else if word.hasPrefix("-"), word != "-" {
                try short(word)
            } else if case .program = table.operands {
                parsed.operands = [word] + rest
                break
            } else {
                try bare(word)
            }
        }
        return nil
    }

    private mutating func long(_ word: String) throws(UsageError) -> String? {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let (spelling, attached) = (parts[0], parts.count > 1 ? parts[1] : nil)
        if spelling == "--generate-completion" {
            let shell = attached ?? rest.popFirst() ?? ""
            guard let text = table.completion(shell: shell) else {
                throw .invalid(spelling, shell, "one of bash, zsh")
            }
            return text
        }
        guard let option = table.option(spelled: spelling) else { throw unknown(spelling) }
        try take(option, spelling, attached)
        if option.name == "help" { return table.helpText() }
        if option.name == "version" { return "\(table.name) (SwiftCP) \(swiftcpVersion)\n" }
        return nil
    }

    /// `-i 5`, `-i5`, `-qq`, and DMTCP's `-bc`, `-kc`.
    private mutating func short(_ word: String) throws(UsageError) {
        if let option = table.option(spelled: word) { return try take(option, word, nil) }
        var letters = word.dropFirst()
        while let letter = letters.popFirst() {
            let spelling = "-\(letter)"
            guard let option = table.option(spelled: spelling) else { throw unknown(word) }
            if option.takesArgument, !letters.isEmpty { return try take(option, spelling, String(letters)) }
            try take(option, spelling, nil)
        }
    }

    /// A word without dashes: an operand, or one of DMTCP's bare requests.
    private mutating func bare(_ word: String) throws(UsageError) {
        if let group = table.requiredGroup {
            let option = table.option(spelled: "--" + word) ?? table.option(spelled: "-" + word)
            if let option, option.group == group { return try take(option, word, nil) }
        }
        parsed.operands.append(word)
    }

    private mutating func take(_ option: Option, _ spelling: String, _ attached: String?) throws(UsageError) {
        var argument = attached
        if case .none = option.value, attached != nil { throw .needlessArgument(spelling) }
        if option.takesArgument, argument == nil, let name = option.value.argumentName {
            guard let next = rest.popFirst() else { throw .missingArgument(spelling, name) }
            argument = next
        }
        if !option.available { throw .notYet(spelling) }
        if let argument { try option.value.check(argument, source: spelling) }
        parsed.found[option.name, default: []].append(argument ?? "")
        parsed.explicit.insert(option.name)
    }

    private func unknown(_ word: String) -> UsageError {
        let candidates = table.options.flatMap(\.allSpellings).filter { $0.hasPrefix("--") == word.hasPrefix("--") }
        return .unknown(word, nearest: nearest(to: word, among: candidates))
    }
}

extension Parser {
    /// Variables stand in for options that the command line does not give, and for no option of a group of which it
    /// gives another.
    mutating func applyEnvironment(_ environment: (String) -> String?) throws(UsageError) {
        let taken = Set(table.options.filter { parsed.explicit.contains($0.name) }.compactMap(\.group))
        for option in table.options {
            guard let variable = option.environment, !parsed.explicit.contains(option.name),
                !(option.group.map(taken.contains) ?? false), let text = environment(variable), !text.isEmpty
            else { continue }
            if case .none = option.value {
                let times = try times(variable, text, most: option.repeats ? 2 : 1)
                if times > 0 { parsed.found[option.name] = Array(repeating: "", count: times) }
                continue
            }
            if !option.available { throw .notYet("\(variable) in the environment (--\(option.name))") }
            if case .optionalCount = option.value, let isWanted = Self.word(text) {
                parsed.found[(isWanted ? "" : "no-") + option.name] = [""]
                continue
            }
            try option.value.check(text, source: variable)
            parsed.found[option.name] = [text]
        }
    }

    /// A variable that stands for a flag: 0, 1 (or 2), no, yes, false, true.
    private func times(_ variable: String, _ text: String, most: Int) throws(UsageError) -> Int {
        if let isWanted = Self.word(text) { return isWanted ? 1 : 0 }
        guard let number = Int(text), (0...most).contains(number) else { throw .invalid(variable, text, "0 or 1") }
        return number
    }

    /// What a word in a variable says; nil when it is none of them.
    private static func word(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "0", "no", "false", "off": false
        case "1", "yes", "true", "on": true
        default: nil
        }
    }

    mutating func checkWhole() throws(UsageError) {
        try checkGroups()
        switch table.operands {
        case .none:
            if let word = parsed.operands.first {
                let candidates = table.options.filter { $0.group == table.requiredGroup }.map(\.name)
                let hint = table.requiredGroup == nil ? nil : nearest(to: word, among: candidates)
                throw UsageError(
                    message: "unexpected word '\(word)'" + (hint.map { "; did you mean --\($0)?" } ?? ""))
            }
        case .some(let name), .program(let name):
            if parsed.operands.isEmpty { throw UsageError(message: "missing \(name)") }
        case .subcommand: try takeSubcommand()
        }
    }

    private func checkGroups() throws(UsageError) {
        var chosen: [String: String] = [:]
        for option in table.options where parsed.found[option.name] != nil {
            guard let group = option.group else { continue }
            if let other = chosen[group] {
                throw UsageError(message: "--\(other) and --\(option.name) exclude each other")
            }
            chosen[group] = option.name
        }
        if let group = table.requiredGroup, chosen[group] == nil {
            let names = table.options.filter { $0.group == group }.map { "--" + $0.name }
            throw UsageError(message: "nothing to do: give one of \(names.joined(separator: ", "))")
        }
    }
}

extension Parser {
    /// Takes the subcommand off the operands and counts the rest.
    mutating func takeSubcommand() throws(UsageError) {
        let names = table.subcommands.map(\.name)
        guard let word = parsed.operands.first else {
            throw UsageError(message: "missing COMMAND: one of \(names.joined(separator: ", "))")
        }
        guard let subcommand = table.subcommands.first(where: { $0.name == word }) else {
            let hint = nearest(to: word, among: names).map { "; did you mean \($0)?" } ?? ""
            throw UsageError(message: "unknown command '\(word)'\(hint)")
        }
        if !subcommand.available { throw .notYet(word) }
        parsed.operands.removeFirst()
        parsed.subcommand = word
        guard parsed.operands.count == subcommand.operands.count else {
            throw UsageError(
                message: "\(word) needs \(subcommand.operands.joined(separator: " ")), not \(parsed.operands.count)"
                    + " operands")
        }
    }
}
