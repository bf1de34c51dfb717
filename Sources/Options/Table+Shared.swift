// Options that mean the same in several commands.

extension Option {
    static let coordinator = Option(
        "coordinator", [], .address("ADDR"), environment: "SWIFTCP_COORDINATOR",
        help:
            "the coordinator's address, unix:PATH or tcp:HOST:PORT (unix: in the user's private run directory; tcp: is"
            + " not yet available)")
    static let coordinatorHost = Option(
        "coord-host", ["-h"], .text("HOST"), environment: "SWIFTCP_COORD_HOST", available: false,
        help: "host of a coordinator that listens on TCP")
    static let coordinatorPort = Option(
        "coord-port", ["-p"], .count("PORT", 1...65535), environment: "SWIFTCP_COORD_PORT", available: false,
        help: "port of a coordinator that listens on TCP")

    /// `swiftcp_launch` and `swiftcp_restart`: what to do about a coordinator.
    static let coordinatorChoice = [
        Option(
            "join-coordinator", ["-j"], group: "coordinator",
            help: "join the coordinator at the address; fail with status 3 if there is none"),
        Option(
            "new-coordinator", group: "coordinator", help: "start a coordinator; fail if there is one at the address"),
        Option(
            "any-coordinator", group: "coordinator",
            help:
                "join the coordinator at the address, else start one in the background that ends with its last process"
                + " (default)"),
    ]
    static let interval = Option(
        "interval", ["-i"], .seconds("SECONDS"), environment: "SWIFTCP_INTERVAL",
        help: "checkpoint every so many seconds; 0 = never, fractions allowed (0)")
    static let quiet = Option(
        "quiet", ["-q"], environment: "SWIFTCP_QUIET", repeats: true,
        help: "no notes; given twice (-qq, or 2 in the environment), no warnings either")
    static let key = Option(
        "key", [], .file("FILE"), environment: "SWIFTCP_KEY", available: false,
        help: "images and manifests are authenticated with the key in FILE")
}
