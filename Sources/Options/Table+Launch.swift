extension CommandTable {
    public static let launch = CommandTable(
        "swiftcp_launch",
        summary: "Starts a program under SwiftCP, so that it can be checkpointed and restarted.",
        operands: .program("COMMAND [ARG...]"),
        options: [.coordinator, .coordinatorHost, .coordinatorPort] + Option.coordinatorChoice
            + [.interval] + launchImages + launchSnapshots + launchAutomatic + [.quiet])

    private static let launchImages: [Option] = [
        Option(
            "ckptdir", ["-d"], .folder("DIR"), environment: "SWIFTCP_CKPTDIR",
            help: "folder that images go to, created if need be (the current folder)"),
        Option(
            "keep", [], .count("N", 1...1_000_000), environment: "SWIFTCP_KEEP",
            help: "how many complete generations are kept (2)"),
        Option(
            "compress", [],
            .choice([.init("none"), .init("lz4"), .init("zstd", levels: 1...22), .init("auto")]),
            environment: "SWIFTCP_COMPRESS",
            help:
                "how memory is compressed in images, by idle processors while the program runs; zstd at a level from 1"
                + " to 22 (1); auto: whatever gets the image onto the disk soonest, by measured speeds (none)"),
        Option(
            "ckpt-open-files", environment: "SWIFTCP_CKPT_OPEN_FILES",
            help: "the contents of open regular files travel in the image too"),
        Option(
            "io-limit", [], .count("MB/s", 1...1_000_000), environment: "SWIFTCP_IO_LIMIT",
            help:
                "upper bound on the speed of writing images, for each process; what must be written while the program"
                + " stands still is not held back (none)"),
        .key,
        Option("encrypt", available: false, help: "images are sealed with the key too"),
    ]

    private static let launchSnapshots: [Option] = [
        Option(
            "snapshot", [],
            .choice([
                .init("auto"), .init("precopy"), .init("cow"), .init("stop"),
            ]), environment: "SWIFTCP_SNAPSHOT",
            help:
                "how the instant is taken; precopy: memory is written while the program runs, and what it has written"
                + " meanwhile when it stands still; cow: a copy-on-write child writes it; stop: it stands still until its"
                + " memory is written; auto: the best way there is (auto)"),
        Option(
            "incremental", [], .optionalCount("N", 1...1_000_000), environment: "SWIFTCP_INCREMENTAL",
            group: "incremental",
            help:
                "later images hold only what changed, a full one every N (10); without this, where what the program writes"
                + " can be tracked, its images are of 8 MiB and more, and its memory is not in huge pages. In the"
                + " environment: N, 1 as --incremental, 0 as --no-incremental"),
        Option("no-incremental", group: "incremental", help: "every image is a full one"),
        Option(
            "outside", [], .choice([.init("reset"), .init("refuse")]), environment: "SWIFTCP_OUTSIDE",
            help:
                "peers that are no part of the computation: their connections are reset at restart, or the checkpoint is"
                + " refused (reset)"),
        Option(
            "ckpt-signal", [], .signal("SIG"), environment: "SWIFTCP_SIGNAL",
            help: "the signal that stops the threads for a checkpoint (USR2)"),
    ]

    private static let launchAutomatic: [Option] = [
        Option(
            "auto", environment: "SWIFTCP_AUTO",
            help:
                "resume this very command's newest complete generation in the ckptdir if there is one, else start it; on"
                + " SIGINT, SIGTERM or SIGHUP checkpoint, then end; on exit status 0 remove its images"),
        Option(
            "interrupted-status", [], .count("N", 0...255),
            help: "with --auto: the exit status after a checkpoint that such a signal asked for (85)"),
        Option(
            "signal", [], .signal("SIG"), available: false,
            help: "with --auto: a further signal that means checkpoint, then end"),
        Option("deadline", [], .seconds("S"), available: false, help: "with --auto: time limit of that checkpoint"),
        Option(
            "retries", [], .count("N", 0...1_000_000), available: false,
            help: "with --auto: resume at once by itself after a failure, so many times"),
        Option("fresh", available: false, help: "with --auto: start over"),
        Option(
            "generation", [], .count("N", 1...999_999), available: false, help: "with --auto: resume this generation"),
    ]
}
