import Glibc

/// Exit statuses of all commands (contract).
public enum ExitStatus {
    public static let done: Int32 = 0
    /// The operation failed; nothing that existed before is lost.
    public static let failed: Int32 = 1
    public static let usage: Int32 = 2
    public static let noCoordinator: Int32 = 3
    /// Image missing, damaged, not authentic or of another format version.
    public static let badImage: Int32 = 4
}

/// Writes a command's notes, warnings and errors to stderr, each with the command's name in front and as a single
/// `write`, so that lines of several processes do not mix.
public struct Reporter: Sendable {
    let command: String
    let quietness: Int

    /// - Parameter quietness: `Parsed.quietness`: 1 silences notes, 2 warnings too. Errors are always shown.
    public init(command: String, quietness: Int = 0) {
        self.command = command
        self.quietness = quietness
    }

    public func note(_ text: String) {
        if quietness < 1 { write(text, to: 2) }
    }
    public func warning(_ text: String) {
        if quietness < 2 { write("warning: " + text, to: 2) }
    }
    public func error(_ text: String) { write(text, to: 2) }

    private func write(_ text: String, to descriptor: Int32) { writeAll("\(command): \(text)\n", to: descriptor) }
}

/// Writes all of a text; gives up silently on an error (a closed stderr is no reason to fail).
public func writeAll(_ text: String, to descriptor: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            return
        }
        rest = rest.dropFirst(count)
    }
}

extension CommandTable {
    /// Reads the command line of this process; prints and ends the process for `--help`, `--version` (status 0) and
    /// for a usage error (status 2).
    ///
    ///     let parsed = CommandTable.command.parseOrExit()
    ///     let report = Reporter(command: "swiftcp_command", quietness: parsed.quietness)
    ///     if parsed.flag("json") { … }
    public func parseOrExit() -> Parsed {
        do throws(UsageError) {
            let arguments = Array(CommandLine.arguments.dropFirst())
            switch try parse(arguments, environment: { getenv($0).map { String(cString: $0) } }) {
            case .run(let parsed): return parsed
            case .print(let text):
                writeAll(text, to: 1)
                exit(ExitStatus.done)
            }
        } catch {
            Reporter(command: name).error("\(error.message)\nTry '\(name) --help'.")
            exit(ExitStatus.usage)
        }
    }
}
