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

    /// Seconds after which it is worth a line.
    public static let patience = 0.4

    /// - Parameter quietness: `Parsed.quietness`.
    public init?(quietness: Int, environment: (String) -> String? = { getenv($0).map { String(cString: $0) } }) {
        guard quietness == 0, isatty(2) == 1, environment("TERM") != "dumb" else { return nil }
        colour = (environment("NO_COLOR") ?? "").isEmpty
    }

    /// Bytes done, and about how many there are in all.
    public mutating func show(_ done: UInt64, of total: UInt64) {
        let now = Instant.now
        guard now.seconds(since: began) >= Self.patience, total > 0 else { return }
        let start = first ?? (done, now)
        first = start
        let speed = Self.speed(done &- min(start.bytes, done), now.seconds(since: start.at))
        write(
            Self.text(done, of: total, perSecond: speed, colour: colour), Self.text(done, of: total, perSecond: speed))
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

    /// `[######------------------]  25 %  1.0 GB of 4.0 GB  500.0 MB/s  6.0 s left`; less where the speed is not known yet.
    static func text(_ done: UInt64, of total: UInt64, perSecond: Double, colour: Bool = false) -> String {
        let share = min(Double(done) / Double(max(total, 1)), 1)
        let full = Int(share * Double(width))
        let bar = String(repeating: "#", count: full)
        let rest = String(repeating: "-", count: width - full)
        let percent = "\(Int(share * 100))"
        var text = "[\(colour ? "\u{1b}[32m\(bar)\u{1b}[0m" : bar)\(rest)] "
        text += String(repeating: " ", count: 3 - percent.count) + percent + " %"
        text += "  \(Quantity.bytes(done)) of \(Quantity.bytes(total))"
        guard perSecond >= 1 else { return text }
        text += "  \(Quantity.bytes(UInt64(min(perSecond, 1e18))))/s"
        let left = Double(total - min(done, total)) / perSecond
        return left < 1e6 ? text + "  \(Quantity.duration(left)) left" : text
    }
}
