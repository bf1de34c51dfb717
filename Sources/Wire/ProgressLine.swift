import Glibc
import SystemCalls

/// A line on the user's terminal that shows how far something is, and goes when it is done. Nothing is written where stderr
/// is no terminal, or when notes are silenced.
public struct ProgressLine {
    private let began = Instant.now
    /// The first amount that was shown, and when: what was there before says nothing about the speed.
    private var first: (bytes: UInt64, at: Instant)?
    private var shown = 0
    private let colour: Bool

    /// Seconds after which it is worth a line, and from one look to the next.
    public static let patience = 0.4
    public static let pace = 0.1

    /// - Parameter quietness: `Parsed.quietness`.
    public init?(quietness: Int, environment: (String) -> String? = { getenv($0).map { String(cString: $0) } }) {
        guard quietness == 0, isatty(2) == 1, environment("TERM") != "dumb", Self.isInForeground else { return nil }
        colour = (environment("NO_COLOR") ?? "").isEmpty
    }

    /// A job in the background would write over what the user types. (Without job control there is none.)
    private static var isInForeground: Bool {
        let group = tcgetpgrp(2)
        return group <= 0 || group == getpgrp()
    }

    /// Columns that a line may have without wrapping: what has wrapped cannot be taken away.
    private static var columns: Int {
        var size = winsize()
        guard ioctl(2, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 79 }
        return Int(size.ws_col) - 1
    }

    /// Bytes done, and about how many there are in all.
    public mutating func show(_ done: UInt64, of total: UInt64) {
        let now = Instant.now
        guard now.seconds(since: began) >= Self.patience, total > 0 else { return }
        let start = first ?? (done, now)
        first = start
        let speed = Self.speed(done &- min(start.bytes, done), now.seconds(since: start.at))
        let columns = Self.columns
        write(
            Self.text(done, of: total, perSecond: speed, columns: columns, colour: colour),
            Self.text(done, of: total, perSecond: speed, columns: columns))
    }

    /// Takes the line away.
    public mutating func clear() { if shown > 0 { write("", "") } }

    private mutating func write(_ text: String, _ plain: String) {
        let length = plain.count
        let rest = String(repeating: " ", count: max(shown - length, 0))
        var bytes = Array("\r\(text)\(rest)\(length == 0 ? "\r" : "")".utf8)
        _ = Glibc.write(2, &bytes, bytes.count)
        shown = length
    }

    private static func speed(_ bytes: UInt64, _ seconds: Double) -> Double {
        seconds > 0.1 ? Double(bytes) / seconds : 0
    }

    private static let width = 24

    /// `[######------------------]  25 %  1.0 GB of 4.0 GB  500.0 MB/s  6.0 s left`; less where the speed is not known yet, and
    /// in a narrow terminal.
    static func text(
        _ done: UInt64, of total: UInt64, perSecond: Double, columns: Int = .max, colour: Bool = false
    ) -> String {
        let share = min(Double(done) / Double(max(total, 1)), 1)
        let percent = "\(Int(share * 100))"
        let number = String(repeating: " ", count: 3 - percent.count) + percent + " %"
        guard columns >= width + 3 + number.count else { return columns >= number.count ? number : "" }
        let bar = String(repeating: "#", count: Int(share * Double(width)))
        let rest = String(repeating: "-", count: width - bar.count)
        var (plain, further) = ("[\(bar)\(rest)] \(number)", words(done, of: total, perSecond: perSecond)[...])
        while let word = further.popFirst(), plain.count + 2 + word.count <= columns { plain += "  " + word }
        return colour ? "[\u{1b}[32m\(bar)\u{1b}[0m" + plain.dropFirst(1 + bar.count) : plain
    }

    /// Amounts, speed and the time that is left, as far as they are known.
    private static func words(_ done: UInt64, of total: UInt64, perSecond: Double) -> [String] {
        let amounts = "\(Quantity.bytes(done)) of \(Quantity.bytes(total))"
        guard perSecond >= 1 else { return [amounts] }
        let speed = "\(Quantity.bytes(UInt64(min(perSecond, 1e18))))/s"
        let left = Double(total - min(done, total)) / perSecond
        return [amounts, speed] + (left < 1e6 ? ["\(Quantity.duration(left)) left"] : [])
    }
}
