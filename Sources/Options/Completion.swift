extension CommandTable {
    /// A completion script made from the table; nil for a shell other than `bash` and `zsh`.
    public func completion(shell: String) -> String? {
        switch shell {
        case "bash": bashCompletion()
        case "zsh": zshCompletion()
        default: nil
        }
    }

    private var offered: [Option] { options.filter(\.available) }

    private func bashCompletion() -> String {
        var cases = ""
        for option in offered {
            guard let action = option.value.bashAction else { continue }
            cases += "        \(option.allSpellings.joined(separator: "|"))) \(action); return ;;\n"
        }
        let words = offered.flatMap(\.allSpellings).joined(separator: " ")
        return """
            # bash completion of \(name), made by `\(name) --generate-completion bash`
            _\(name)() {
                local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
                COMPREPLY=()
            \(bashProgramPart)    case $previous in
            \(cases)    esac
                case $current in
                -*) COMPREPLY=($(compgen -W "\(words)" -- "$current")) ;;
                *) \(bashOperandAction) ;;
                esac
            }
            complete -o filenames -F _\(name) \(name)

            """
    }

    /// Words of the launched program are completed as that program's own.
    private var bashProgramPart: String {
        guard case .program = operands else { return "" }
        let taking = offered.filter(\.takesArgument).flatMap(\.allSpellings).joined(separator: "|")
        return """
                local word=1
                while ((word < COMP_CWORD)); do
                    case ${COMP_WORDS[word]} in
                    --) ((word++)); break ;;
                    \(taking)) ((word++)) ;;
                    -*) ;;
                    *) break ;;
                    esac
                    ((word++))
                done
                if ((word < COMP_CWORD)) && declare -F _command_offset >/dev/null; then
                    _command_offset $word
                    return
                fi

            """
    }

    private var bashOperandAction: String {
        switch operands {
        case .none: "COMPREPLY=($(compgen -W \"\(requestNames)\" -- \"$current\"))"
        case .some: "COMPREPLY=($(compgen -f -- \"$current\"))"
        case .program: "COMPREPLY=($(compgen -c -f -- \"$current\"))"
        case .subcommand:
            "COMPREPLY=($(compgen -f -W \"\(subcommandNames)\" -- \"$current\"))"
        }
    }

    private var requestNames: String {
        requiredGroup == nil ? "" : offered.filter { $0.group == requiredGroup }.map(\.name).joined(separator: " ")
    }

    private var subcommandNames: String {
        subcommands.filter(\.available).map(\.name).joined(separator: " ")
    }

    private func zshCompletion() -> String {
        var specs: [String] = []
        for option in offered {
            let others = option.repeats ? "*" : "(\(option.allSpellings.joined(separator: " ")))"
            for spelling in option.allSpellings {
                let equals = option.takesArgument && spelling.hasPrefix("--") ? "=" : ""
                specs.append("'\(others)\(spelling)\(equals)[\(zshQuoted(option.help))]\(option.value.zshAction)'")
            }
        }
        switch operands {
        case .none: break
        case .some(let operand): specs.append("'*:\(operand):_files'")
        case .program: specs += ["'(-)1:command: _command_names -e'", "'*::arguments: _normal'"]
        case .subcommand: specs += ["'1:command:(\(subcommandNames))'", "'*:IMAGE:_files'"]
        }
        let body = specs.map { "    \($0)" }.joined(separator: " \\\n")
        return "#compdef \(name)\n# made by `\(name) --generate-completion zsh`\n_arguments -S \\\n\(body)\n"
    }

    private func zshQuoted(_ text: String) -> String {
        text.reduce(into: "") { result, letter in
            switch letter {
            case "'": result += "'\\''"
            case "[", "]", ":", "\\": result += "\\\(letter)"
            default: result.append(letter)
            }
        }
    }
}

extension Option.Value {
    fileprivate var bashAction: String? {
        switch self {
        case .none, .optionalCount: nil
        case .file: "COMPREPLY=($(compgen -f -- \"$current\"))"
        case .folder: "COMPREPLY=($(compgen -d -- \"$current\"))"
        case .choice(let choices):
            "COMPREPLY=($(compgen -W \"\(Self.words(choices))\" -- \"$current\"))"
        case .address: "COMPREPLY=($(compgen -W \"unix:\" -- \"$current\"))"
        case .text, .seconds, .count, .signal: "COMPREPLY=()"
        }
    }

    fileprivate var zshAction: String {
        switch self {
        case .none, .optionalCount: ""
        case .file(let name): ":\(name):_files"
        case .folder(let name): ":\(name):_files -/"
        case .choice(let choices): ":word:(\(Self.words(choices)))"
        case .signal(let name): ":\(name):_signals"
        case .text(let name), .seconds(let name), .count(let name, _), .address(let name): ":\(name): "
        }
    }

    private static func words(_ choices: [Option.Choice]) -> String {
        choices.filter(\.available).map(\.word).joined(separator: " ")
    }
}
