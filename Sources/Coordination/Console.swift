import Glibc
import SystemCalls
import Wire

/// The coordinator's own terminal: DMTCP's one-letter commands, and one line of live status at the bottom.
///
/// Keys work without Return; the terminal is put back as it was on suspend and at the end.
final class Console {
    private var original: termios?
    private var statusLine = ""
    /// Digits typed after `i`.
    private var interval: String?

    init() { resume() }

    /// This process group may read from the terminal.
    var isForeground: Bool { tcgetpgrp(0) == getpgrp() }

    /// Takes the terminal: keys at once and without echo; Ctrl+C and Ctrl+Z keep working.
    func resume() {
        guard isForeground, original == nil else { return }
        var settings = termios()
        guard tcgetattr(0, &settings) == 0 else { return }
        original = settings
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
        tcsetattr(0, TCSANOW, &settings)
    }

    func close() {
        clearStatus()
        guard var settings = original, isForeground else { return }
        tcsetattr(0, TCSANOW, &settings)
        original = nil
    }

    /// Ctrl+Z.
    func suspend() {
        close()
        kill(getpid(), SIGSTOP)
    }

    /// The requests that the typed keys make; nil when the terminal cannot be read any more.
    func readKeys() -> [Request]? {
        guard isForeground else { return nil }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = read(0, &bytes, bytes.count)
        if count < 0 { return errno == EINTR || errno == EAGAIN ? [] : nil }
        guard count > 0 else { return nil }
        return bytes[..<count].compactMap(key)
    }

    private func key(_ byte: UInt8) -> Request? {
        let character = Character(UnicodeScalar(byte))
        if interval != nil { return intervalKey(character) }
        switch character {
        case "c", "C": return Request(.checkpoint)
        case "l", "L": return Request(.list)
        case "s", "S": return Request(.status)
        case "k", "K": return Request(.kill)
        case "q", "Q": return Request(.quit)
        case "i", "I":
            interval = ""
            show("Seconds between automatic checkpoints (0 = never), then Return:")
        case "h", "H", "?": show(Self.help)
        default: break
        }
        return nil
    }

    private func intervalKey(_ character: Character) -> Request? {
        switch character {
        case "0"..."9", ".":
            interval?.append(character)
            return nil
        case "\n", "\r":
            let seconds = interval.flatMap(Double.init)
            interval = nil
            guard let seconds, seconds <= 1e9 else { return nil }
            return Request(.interval, interval: UInt64((seconds * 1e6).rounded()))
        default:
            interval = nil
            show("The interval stays as it was.")
            return nil
        }
    }

    private static let help = """
        c  checkpoint all processes
        l  list the processes
        s  show the status
        k  end the processes
        q  end the processes and the coordinator
        i  set the interval of automatic checkpoints
        h  show this text
        """

    /// Prints above the status line.
    func show(_ text: String) {
        clearStatus()
        put(text + "\n")
        drawStatus()
    }

    func show(_ reply: CommandReply) { show(reply.text()) }

    func showStatus(_ status: () -> CommandReply) {
        guard isForeground else { return }
        let line = status().summary
        guard line != statusLine else { return }
        clearStatus()
        statusLine = line
        drawStatus()
    }

    private func clearStatus() {
        if !statusLine.isEmpty { put("\r\u{1b}[K") }
    }

    private func drawStatus() { put(statusLine) }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(1, bytes, bytes.count)
    }
}
