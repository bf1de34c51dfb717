import Testing

@testable import Options

/// A command line's result, in a form that tests compare.
private func parsed(
    _ table: CommandTable, _ arguments: String..., environment: [String: String] = [:]
) throws -> Parsed {
    guard case .run(let parsed) = try table.parse(arguments, environment: { environment[$0] }) else {
        throw UsageError(message: "printed instead of run")
    }
    return parsed
}

private func message(
    _ table: CommandTable, _ arguments: String..., environment: [String: String] = [:]
) -> String {
    do throws(UsageError) {
        _ = try table.parse(arguments, environment: { environment[$0] })
        return "accepted"
    } catch { return error.message }
}

@Suite struct `Reading a command line` {
    @Test func `Launch leaves the program's words alone`() throws {
        let result = try parsed(.launch, "-i", "2.5", "--keep=3", "make", "-j", "4", "--", "--help")
        #expect(result.operands == ["make", "-j", "4", "--", "--help"])
        #expect(result.microseconds("interval") == 2_500_000)
        #expect(result.count("keep") == 3)
    }

    @Test func `Two dashes end the options`() throws {
        #expect(try parsed(.launch, "-q", "--", "-strange", "x").operands == ["-strange", "x"])
        #expect(try parsed(.restart, "a", "--", "--b").operands == ["a", "--b"])
    }

    @Test(arguments: [
        (["-bc"], "bcheckpoint"), (["-kc"], "kcheckpoint"), (["-c"], "checkpoint"), (["-s"], "status"),
        (["-l"], "list"), (["-k"], "kill"), (["-q"], "quit"), (["-i", "5"], "interval"), (["--interval=0"], "interval"),
        (["--kcheckpoint"], "kcheckpoint"), (["status"], "status"), (["kc"], "kcheckpoint"), (["i", "3"], "interval"),
    ])
    func `Requests are spelled as in DMTCP too`(arguments: [String], request: String) throws {
        guard case .run(let result) = try CommandTable.command.parse(arguments, environment: { _ in nil }) else {
            return #expect(Bool(false), "printed")
        }
        #expect(result.chosen("request") == request)
    }

    @Test(arguments: [("-q", 1), ("-qq", 2), ("-qqq", 2), ("--quiet", 1)])
    func `Quiet counts`(spelling: String, quietness: Int) throws {
        #expect(try parsed(.launch, spelling, "x").quietness == quietness)
    }

    @Test func `Short options take attached arguments and follow each other`() throws {
        let result = try parsed(.restart, "-qi5", "-d/tmp", "image")
        #expect(result.value("interval") == "5")
        #expect(result.value("ckptdir") == "/tmp")
        #expect(result.quietness == 1)
    }

    @Test func `The last one counts, repeated ones are all kept`() throws {
        #expect(try parsed(.launch, "-i1", "-i2", "x").value("interval") == "2")
        #expect(try parsed(.restart, "--map", "a=b", "--map=c=d", "x").values("map") == ["a=b", "c=d"])
    }

    @Test func `Options may follow operands where no program's options could be meant`() throws {
        let result = try parsed(.image, "core", "in", "out", "--json")
        #expect(result.subcommand == "core")
        #expect(result.operands == ["in", "out"])
        #expect(result.flag("json"))
    }

    @Test(arguments: [("USR2", 12), ("SIGUSR2", 12), ("usr1", 10), ("34", 34)])
    func `Signals have names and numbers`(text: String, number: Int32) throws {
        #expect(try parsed(.launch, "--ckpt-signal", text, "x").signal("ckpt-signal") == number)
    }
}

@Suite struct `The environment stands in for options` {
    @Test func `It is used when the command line says nothing`() throws {
        let environment = ["SWIFTCP_INTERVAL": "3", "SWIFTCP_QUIET": "2", "SWIFTCP_AUTO": "1", "SWIFTCP_KEEP": ""]
        let result = try parsed(.launch, "x", environment: environment)
        #expect(result.microseconds("interval") == 3_000_000)
        #expect(result.quietness == 2)
        #expect(result.flag("auto"))
        #expect(result.value("keep") == nil)
    }

    @Test func `The command line wins`() throws {
        #expect(try parsed(.launch, "-i1", "x", environment: ["SWIFTCP_INTERVAL": "3"]).value("interval") == "1")
        let other = ["SWIFTCP_INCREMENTAL": "4"]
        #expect(try parsed(.launch, "--no-incremental", "x", environment: other).flag("no-incremental"))
    }

    @Test func `A variable for a number that may be left out takes words, too`() throws {
        func parsedWith(_ text: String) throws -> Parsed {
            try parsed(.launch, "x", environment: ["SWIFTCP_INCREMENTAL": text])
        }
        #expect(try parsedWith("4").count("incremental") == 4)
        for text in ["1", "on"] {
            #expect(try parsedWith(text).flag("incremental") && parsedWith(text).count("incremental") == nil)
        }
        for text in ["0", "no"] {
            #expect(try !parsedWith(text).flag("incremental") && parsedWith(text).flag("no-incremental"))
        }
    }

    @Test(arguments: ["0", "no", "false"])
    func `A flag can be switched off`(text: String) throws {
        #expect(try !parsed(.launch, "x", environment: ["SWIFTCP_AUTO": text]).flag("auto"))
    }

    @Test(arguments: [
        ("SWIFTCP_INTERVAL", "soon", "SWIFTCP_INTERVAL: 'soon' is not a number of seconds, 0 or more"),
        ("SWIFTCP_AUTO", "maybe", "SWIFTCP_AUTO: 'maybe' is not 0 or 1"),
        (
            "SWIFTCP_KEY", "/k",
            "SWIFTCP_KEY in the environment (--key) is not yet available in this release; leave it out"
        ),
        (
            "SWIFTCP_COMPRESS", "gzip",
            "SWIFTCP_COMPRESS: 'gzip' is not one of none, lz4, zstd[:LEVEL], auto"
        ),
    ])
    func `A variable is checked as its option is`(name: String, value: String, expected: String) {
        #expect(message(.launch, "x", environment: [name: value]) == expected)
    }
}

@Suite struct `Wrong command lines` {
    @Test(arguments: [
        ("--intervall", "unknown option --intervall; did you mean --interval?"),
        ("--ckpt-dir", "unknown option --ckpt-dir; did you mean --ckptdir?"),
        ("--xyzzyplugh", "unknown option --xyzzyplugh"),
        ("-x", "unknown option -x"), ("-bcc", "unknown option -bcc"),
        ("--auto=yes", "--auto takes no argument"),
        ("--keep=0", "--keep: '0' is not a whole number from 1 to 1000000"),
        ("--interval=-1", "--interval: '-1' is not a number of seconds, 0 or more"),
        ("--interval=nan", "--interval: 'nan' is not a number of seconds, 0 or more"),
        ("--interval=0x10", "--interval: '0x10' is not a number of seconds, 0 or more"),
        ("--snapshot=stopp", "--snapshot: 'stopp' is not one of auto, precopy, cow, stop; did you mean stop?"),
        ("--compress=zstd:0", "--compress: 'zstd:0' is not zstd with a level from 1 to 22"),
        ("--compress=zstd:23", "--compress: 'zstd:23' is not zstd with a level from 1 to 22"),
        ("--compress=zstd:", "--compress: 'zstd:' is not zstd with a level from 1 to 22"),
        ("--compress=none:3", "--compress: 'none:3' is not one of none, lz4, zstd[:LEVEL], auto; did you mean none?"),
        ("--incremental=0", "--incremental: '0' is not a whole number from 1 to 1000000"),
        ("--ckpt-signal=KILL", "--ckpt-signal: 'KILL' is not a signal that a program can handle"),
        ("--coordinator=here", "--coordinator: 'here' is not an address; write unix:PATH"),
        ("--ckptdir=", "--ckptdir: '' is not a name: it is empty"),
        (
            "--coordinator=tcp:h:1",
            "--coordinator tcp:h:1: a coordinator on TCP is not yet available in this release; leave it out"
        ),
    ])
    func `They are refused with a sentence`(argument: String, expected: String) {
        #expect(message(.launch, argument, "x") == expected)
    }

    @Test func `Arguments and operands that are missing or too many are named`() {
        #expect(message(.launch, "--keep") == "--keep needs an argument: N")
        #expect(message(.launch) == "missing COMMAND [ARG...]")
        #expect(message(.restart) == "missing IMAGE")
        #expect(message(.coordinator, "extra") == "unexpected word 'extra'")
        #expect(message(.command, "-s", "stauts") == "unexpected word 'stauts'; did you mean --status?")
        #expect(message(.command).hasPrefix("nothing to do: give one of --status, --list"))
        #expect(message(.command, "-s", "-l") == "--status and --list exclude each other")
        #expect(message(.launch, "-j", "--new-coordinator", "x").hasSuffix("exclude each other"))
        #expect(message(.image, "inof", "x") == "unknown command 'inof'; did you mean info?")
        #expect(message(.image, "core", "x") == "core needs IMAGE OUT, not 1 operands")
        #expect(message(.image, "diff", "a") == "diff needs A B, not 1 operands")
        let long = "unix:/" + String(repeating: "a", count: 107)
        #expect(message(.launch, "--coordinator", long, "x").hasSuffix("at most 107 bytes"))
    }

    @Test(arguments: CommandTable.all.map(\.name))
    func `No option of a later release is accepted anywhere`(name: String) throws {
        let table = try #require(CommandTable.all.first { $0.name == name })
        for option in table.options where !option.available {
            let argument = option.takesArgument ? ["1"] : []
            for spelling in option.allSpellings {
                #expect(throws: UsageError.self, "\(spelling)") {
                    try table.parse([spelling] + argument + ["x"], environment: { _ in nil })
                }
            }
        }
    }
}

@Suite struct `What the tables are made into` {
    private func text(_ table: CommandTable, _ arguments: String...) throws -> String {
        guard case .print(let text) = try table.parse(arguments, environment: { _ in nil }) else { return "ran" }
        return text
    }

    @Test func `Help names every option and fits 100 columns`() throws {
        for table in CommandTable.all {
            let help = try text(table, "--help")
            for option in table.options { #expect(help.contains("--" + option.name)) }
            for line in help.split(separator: "\n") { #expect(line.count <= 110, "\(line)") }
        }
    }

    @Test func `Help wins over what follows, and the version is shown`() throws {
        #expect(try text(.launch, "--help", "--nonsense").hasPrefix("Usage: swiftcp_launch"))
        #expect(try text(.image, "--version") == "swiftcp_image (SwiftCP) \(swiftcpVersion)\n")
    }

    @Test func `Completions offer available options only`() throws {
        for table in CommandTable.all {
            let bash = try text(table, "--generate-completion", "bash")
            let zsh = try text(table, "--generate-completion=zsh")
            let offered = bash.split(separator: "\n").filter { $0.contains("-*) COMPREPLY") }.joined()
                .split { " \"".contains($0) }.map(String.init)
            for option in table.options {
                let long = "--" + option.name
                #expect(offered.contains(long) == option.available, "\(table.name) \(long)")
                let inZsh = zsh.contains(long + "[") || zsh.contains(long + "=[")
                #expect(inZsh == option.available, "\(table.name) \(long)")
            }
        }
        #expect(throws: UsageError.self) { try text(.launch, "--generate-completion", "fish") }
    }

    @Test func `No spelling stands for two options`() {
        for table in CommandTable.all {
            let all = table.options.flatMap(\.allSpellings)
            #expect(Set(all).count == all.count, "\(table.name)")
        }
    }
}
