import Glibc

/// Numbers of the command line.
enum Number {
    /// Seconds as a decimal number to whole microseconds; nil unless it is one between 0 and 1e9.
    static func microseconds(_ text: String) -> UInt64? {
        // Double also reads "nan", "inf" and hexadecimal: only decimal digits are meant here.
        guard text.utf8.allSatisfy({ (48...57).contains($0) || $0 == 46 || $0 == 101 || $0 == 45 }),
            let seconds = Double(text), seconds >= 0, seconds <= 1e9
        else { return nil }
        return UInt64((seconds * 1e6).rounded())
    }
}

/// Signals by name. *Source:* signal(7); numbers from the C library.
enum Signals {
    private static let names: [(String, Int32)] = [
        ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ILL", SIGILL), ("TRAP", SIGTRAP), ("ABRT", SIGABRT),
        ("BUS", SIGBUS), ("FPE", SIGFPE), ("USR1", SIGUSR1), ("SEGV", SIGSEGV), ("USR2", SIGUSR2), ("PIPE", SIGPIPE),
        ("ALRM", SIGALRM), ("TERM", SIGTERM), ("CHLD", SIGCHLD), ("CONT", SIGCONT), ("TSTP", SIGTSTP),
        ("TTIN", SIGTTIN), ("TTOU", SIGTTOU), ("URG", SIGURG), ("XCPU", SIGXCPU), ("XFSZ", SIGXFSZ),
        ("VTALRM", SIGVTALRM), ("PROF", SIGPROF), ("WINCH", SIGWINCH), ("IO", SIGIO), ("PWR", SIGPWR), ("SYS", SIGSYS),
    ]

    /// The number of `USR2`, `SIGUSR2` or `12`; nil for what is no signal, cannot be handled (KILL, STOP), or is libc's
    /// own (32, 33).
    static func number(_ text: String) -> Int32? {
        if let number = Int32(text) {
            return (1...64).contains(number) && ![SIGKILL, SIGSTOP, 32, 33].contains(number) ? number : nil
        }
        let upper = text.uppercased()
        let short = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        return names.first { $0.0 == short }?.1
    }

    /// `SIGINT` for 2; `signal 40` for one without a name.
    static func name(_ number: Int32) -> String {
        names.first { $0.1 == number }.map { "SIG" + $0.0 } ?? "signal \(number)"
    }
}

/// The name of a signal for messages: `SIGINT` for 2.
public func signalName(_ number: Int32) -> String { Signals.name(number) }

extension Option.Value {
    /// Checks an argument. - Parameter source: who gave it: `--keep`, `-i`, `SWIFTCP_KEEP`.
    func check(_ text: String, source: String) throws(UsageError) {
        switch self {
        case .none: break
        case .text, .file, .folder:
            if text.isEmpty { throw .invalid(source, text, "a name: it is empty") }
        case .seconds:
            if Number.microseconds(text) == nil { throw .invalid(source, text, "a number of seconds, 0 or more") }
        case .count(_, let range), .optionalCount(_, let range):
            guard let number = Int(text), range.contains(number) else {
                throw .invalid(source, text, "a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
        case .choice(let choices): try Self.check(choice: text, choices, source)
        case .address: try Self.check(address: text, source)
        case .signal:
            if Signals.number(text) == nil { throw .invalid(source, text, "a signal that a program can handle") }
        }
    }

    private static func check(choice text: String, _ choices: [Option.Choice], _ source: String) throws(UsageError) {
        // "zstd:3" is zstd with a level.
        let word = String(text.prefix { $0 != ":" })
        guard let choice = choices.first(where: { $0.word == word }),
            choice.available == false || word == text || choice.levels != nil
        else {
            let words = choices.filter(\.available).map(\.text).joined(separator: ", ")
            let hint = nearest(to: text, among: choices.map(\.word)).map { "; did you mean \($0)?" } ?? ""
            throw .invalid(source, text, "one of \(words)\(hint)")
        }
        if !choice.available { throw .notYet("\(source) \(text)") }
        guard let levels = choice.levels, word != text else { return }
        guard let level = Int(text.dropFirst(word.count + 1)), levels.contains(level) else {
            throw .invalid(source, text, "\(word) with a level from \(levels.lowerBound) to \(levels.upperBound)")
        }
    }

    private static func check(address text: String, _ source: String) throws(UsageError) {
        if text.hasPrefix("tcp:") { throw .notYet("\(source) \(text): a coordinator on TCP") }
        guard text.hasPrefix("unix:"), text.utf8.count > 5 else {
            throw .invalid(source, text, "an address; write unix:PATH")
        }
        // sun_path holds 108 bytes with its NUL.
        if text.utf8.count - 5 > 107 {
            throw .invalid(source, text, "an address: the path of a Unix socket has at most 107 bytes")
        }
    }
}
