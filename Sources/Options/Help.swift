/// The release, as `--version` shows it.
public let swiftcpVersion = "0.1.0"

extension CommandTable {
    /// `swiftcp_launch [options] [--] COMMAND [ARG...]`
    var usageLine: String {
        switch operands {
        case .none where requiredGroup != nil: "\(name) [options] REQUEST"
        case .none: "\(name) [options]"
        case .some(let operand): "\(name) [options] \(operand)..."
        case .program(let words): "\(name) [options] [--] \(words)"
        case .subcommand: "\(name) [options] COMMAND IMAGE"
        }
    }

    /// The text of `--help`: at most 100 columns.
    public func helpText() -> String {
        var text = "Usage: \(usageLine)\n\n\(summary)\n"
        if !subcommands.isEmpty {
            text += "\nCommands:\n"
            for item in subcommands where item.available { text += row(item.title, item.help) }
        }
        if let group = requiredGroup {
            text += "\nRequests:\n" + rows { $0.available && $0.group == group }
        }
        text += "\nOptions:\n" + rows { $0.available && ($0.group == nil || $0.group != requiredGroup) }
        let later = rows { !$0.available }
        let laterCommands = subcommands.filter { !$0.available }.map { row($0.title, $0.help) }.joined()
        if !(later + laterCommands).isEmpty { text += "\nNot yet available, refused:\n" + laterCommands + later }
        text += "\nExit status: 0 done, 1 failed, 2 usage, 3 no coordinator, 4 image damaged or missing"
        text += hasProgram ? "; else the program's own.\n" : ".\n"
        return text + "The manual has more: man \(name)\n"
    }

    private var hasProgram: Bool {
        switch operands {
        case .program, .some: true
        case .none, .subcommand: false
        }
    }

    private func rows(where wanted: (Option) -> Bool) -> String {
        options.filter(wanted).map { option in
            row(option.title, option.help + (option.environment.map { " [\($0)]" } ?? ""))
        }.joined()
    }

    /// A name in the left column, its text folded into the right one.
    private func row(_ title: String, _ help: String) -> String {
        let margin = 28
        var lines: [String] = []
        var line = ""
        for word in help.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > 100 - margin {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        lines.append(line)
        let indent = String(repeating: " ", count: margin)
        let head = "  " + title
        let fits = head.count + 2 <= margin
        let first = fits ? head + String(repeating: " ", count: margin - head.count) : head + "\n" + indent
        return first + lines.joined(separator: "\n" + indent) + "\n"
    }
}

extension CommandTable.Subcommand {
    var title: String { ([name] + operands).joined(separator: " ") }
}

extension Option {
    /// `-i, --interval SECONDS`
    var title: String {
        let names = allSpellings.joined(separator: ", ")
        guard let argument = value.argumentName else { return names }
        if case .optionalCount = value { return names + "[=\(argument)]" }
        return names + " " + argument
    }
}
