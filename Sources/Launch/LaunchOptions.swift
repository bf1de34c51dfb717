import Glibc
import Options
import SystemCalls

/// A `swiftcp_launch` command line, with paths made absolute.
public struct LaunchOptions: Sendable {
    let parsed: Parsed
    let report: Reporter
    /// The program's words, as they came.
    let words: [[UInt8]]
    let workingDirectory: String
    /// Absolute, without links; exists and may be written to.
    let checkpointDirectory: String
    /// True when this command made it.
    let madeCheckpointDirectory: Bool

    /// - Parameters:
    ///   - parsed: by `CommandTable.launch`.
    ///   - words: the program's name and arguments.
    /// - Throws: `LaunchError` when the folder for images cannot be made or written to.
    public init(_ parsed: Parsed, words: [[UInt8]]) throws(LaunchError) {
        self.parsed = parsed
        self.words = words
        report = Reporter(command: "swiftcp_launch", quietness: parsed.quietness)
        let directory = parsed.value("ckptdir") ?? "."
        madeCheckpointDirectory = !Files.exists(directory)
        (workingDirectory, checkpointDirectory) = try system { () throws(SystemError) in
            let current = try Files.currentDirectory()
            try Files.makeDirectories(directory)
            return (current, try Files.realPath(directory))
        }
        if access(checkpointDirectory, W_OK | X_OK) != 0 {
            throw LaunchError(
                SystemError.last("write images to", checkpointDirectory, hint: "choose another folder with --ckptdir"))
        }
    }

    /// The last words of this process's own command line.
    public static func ofThisProcess() throws(LaunchError) -> LaunchOptions {
        let parsed = CommandTable.launch.parseOrExit()
        return try LaunchOptions(parsed, words: commandWords(last: parsed.operands.count))
    }

    var command: String { parsed.operands[0] }

    /// The name in the image's folder: the program's file name, letters that would be awkward in a path replaced.
    var programName: String {
        let allowed = Path.name(command).utf8.prefix(48).map { byte -> UInt8 in
            let isPlain = (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
            return isPlain || [43, 45, 46, 95].contains(byte) ? byte : 95
        }
        return String(decoding: allowed, as: UTF8.self)
    }

    var quiesceSignal: Int32 { parsed.signal("ckpt-signal") ?? SIGUSR2 }
    var interruptedStatus: Int32 { Int32(parsed.count("interrupted-status") ?? 85) }
}
