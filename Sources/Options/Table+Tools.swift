extension CommandTable {
    public static let command = CommandTable(
        "swiftcp_command",
        summary: "Asks a coordinator: state, checkpoints, the end.",
        operands: .none, requiredGroup: "request",
        options: [
            Option(
                "status", ["-s"], group: "request", help: "show the coordinator, its processes and the last checkpoint"),
            Option("list", ["-l"], group: "request", help: "list the processes"),
            Option(
                "checkpoint", ["-c"], group: "request",
                help: "checkpoint all processes; returns when the generation is complete and durable"),
            Option("bcheckpoint", ["-bc"], group: "request", help: "the same as --checkpoint"),
            Option("kcheckpoint", ["-kc"], group: "request", help: "checkpoint, then end the processes"),
            Option(
                "interval", ["-i"], .seconds("N"), group: "request",
                help: "checkpoint every N seconds from now on; 0 = never, fractions allowed"),
            Option("kill", ["-k"], group: "request", help: "end the processes"),
            Option("quit", ["-q"], group: "request", help: "end the processes and the coordinator"),
            Option("no-wait", help: "with a checkpoint: return at once"),
            Option("json", help: "write one JSON object to stdout"),
            .coordinator, .coordinatorHost, .coordinatorPort,
            Option(
                "quiet", [], environment: "SWIFTCP_QUIET", repeats: true,
                help: "no notes; given twice (or 2 in the environment), no warnings either"),
        ])

    public static let coordinator = CommandTable(
        "swiftcp_coordinator",
        summary: "Holds the processes of computations together and leads their checkpoints.",
        operands: .none,
        options: [
            Option(
                "coordinator", [], .address("ADDR"), environment: "SWIFTCP_COORDINATOR", repeats: true,
                help:
                    "address to listen at, unix:PATH or tcp:HOST:PORT; may be repeated (unix: in the user's private run"
                    + " directory; tcp: is not yet available)"),
            .interval,
            Option("daemon", help: "go to the background once it listens"),
            Option("exit-on-last", help: "end when the last process has gone"),
            Option("status-file", [], .file("FILE"), help: "keep FILE up to date with the status as JSON"),
            Option("port-file", [], .file("FILE"), available: false, help: "write the TCP port to FILE"),
            Option("stale-timeout", [], .seconds("S"), help: "end when no process has been there for S seconds"),
            Option("timeout", [], .seconds("S"), help: "time limit of each stage of a checkpoint (60)"),
            Option("log-file", [], .file("FILE"), help: "append what happens to FILE"),
            .quiet,
        ])

    public static let image = CommandTable(
        "swiftcp_image",
        summary: "Looks into checkpoint images, checks and converts them.",
        operands: .subcommand,
        subcommands: [
            .init(
                name: "info", operands: ["IMAGE"], available: true,
                help: "what it is, from when and where, processes, threads, regions, descriptors, sizes"),
            .init(name: "maps", operands: ["IMAGE"], available: true, help: "its regions of memory"),
            .init(
                name: "verify", operands: ["IMAGE"], available: true,
                help: "check every checksum; status 4 if any is wrong"),
            .init(
                name: "core", operands: ["IMAGE", "OUT"], available: true,
                help: "write a plain ELF core file that gdb opens"),
            .init(
                name: "flatten", operands: ["IMAGE", "OUT"], available: true,
                help: "make an incremental chain whole: write an image that needs no earlier one"),
            .init(
                name: "diff", operands: ["A", "B"], available: true,
                help: "which regions and pages of two images differ"),
        ],
        options: [
            Option("json", help: "write one JSON object to stdout"),
            .key,
            .quiet,
        ])
}
