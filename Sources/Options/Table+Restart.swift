extension CommandTable {
    public static let restart = CommandTable(
        "swiftcp_restart",
        summary: "Brings a program back from its checkpoint image, a generation folder or a computation folder.",
        operands: .some("IMAGE"),
        options: [.coordinator, .coordinatorHost, .coordinatorPort] + Option.coordinatorChoice
            + [.interval] + restartOptions + [.quiet])

    private static let restartOptions: [Option] = [
        Option(
            "ckptdir", ["-d"], .folder("DIR"), environment: "SWIFTCP_CKPTDIR",
            help: "folder that later images go to (where the image is)"),
        Option(
            "restore", [], .choice([.init("auto"), .init("lazy"), .init("eager")]),
            help:
                "how memory comes back; lazy: when it is touched; eager: all of it before the program runs; auto: by size"
                + " (auto)"),
        Option("background", help: "return as soon as the program runs, do not stay as its parent"),
        Option(
            "tty", [], .choice([.init("keep"), .init("current"), .init("none")]),
            help:
                "the program's terminal; keep: the one it had if it is there; current: this one; none: without (current)"
        ),
        Option("verify-only", help: "check every block of the images and end"),
        Option(
            "keep-pids", [], .choice([.init("require"), .init("prefer"), .init("never")]),
            help: "process ids are as they were, or the restart fails; or if it can be; or new ones are taken (prefer)"),
        Option(
            "map", [], .text("OLD=NEW"), repeats: true,
            help: "files whose path starts with OLD are opened below NEW; may be repeated"),
        Option(
            "files", [], .choice([.init("rewind"), .init("keep")]),
            help: "a file that was open for writing and has grown is cut back to its recorded length, or left (rewind)"),
        .key,
        Option(
            "env-refresh", [], .text("PATTERN"), available: false, repeats: true,
            help: "variables that match are taken from the environment of this command"),
    ]
}
