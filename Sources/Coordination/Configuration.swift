import SystemCalls

/// What a coordinator is told at its start. Times are seconds.
public struct Configuration: Sendable {
    /// As status shows it.
    public var address = ""
    public var pid: Int32 = 0
    public var host = "localhost"
    /// Kernel release, for manifests.
    public var kernel = ""
    /// Only this user and root are listened to.
    public var user: UInt32 = 0
    /// Between automatic checkpoints of computations that do not say otherwise; 0 = never.
    public var interval = 0.0
    /// Complete generations kept, for computations that do not say otherwise.
    public var keep: UInt32 = 2
    /// For each stage of a checkpoint.
    public var stageLimit = 60.0
    /// For stopping all threads of a process.
    public var quiesceLimit = 20.0
    /// What a worker has for its preparations beside that, before the coordinator gives up on it.
    public var prepareLimit = 30.0
    /// How many processes of a computation prepare at once: beside more of them the program would hardly run.
    public var preparers = 4
    /// How long everything stands still for a process that belongs to the computation and shows that it will never connect:
    /// it may be short-lived. So long too may an exec take before its new program is looked at.
    public var strayLimit = 1.0
    /// The same for one that may just have been born, on a busy host.
    public var birthLimit = 3.0
    /// How long a checkpoint is repeated that a process could not take part in just then (connections not accepted yet, …).
    public var repeatLimit = 3.0
    /// How long a checkpoint waits for an announced process.
    public var announceLimit = 30.0
    /// A connection that says nothing for so long is closed.
    public var greetingLimit = 60.0
    /// Processes that were told to end are killed with SIGKILL after this (one that is stopped hears nothing).
    public var killLimit = 3.0
    /// End with the last process.
    public var exitOnLast = false
    /// With `exitOnLast`: end when nobody has come for so long.
    public var firstLimit = 60.0
    /// End when no process has been there for so long; nil = never.
    public var staleTimeout: Double?

    public init() {}
}

/// A point in time, on both clocks: only differences of `monotonic` decide anything, `wall` is for people.
public struct Moment: Equatable, Sendable {
    public var monotonic: Instant
    /// Nanoseconds since the epoch.
    public var wall: Int64

    public init(monotonic: Instant, wall: Int64) { (self.monotonic, self.wall) = (monotonic, wall) }

    public static var now: Moment { Moment(monotonic: .now, wall: WallClock.now) }

    /// ISO 8601 in UTC with milliseconds: `2026-11-21T02:45:00.123Z`.
    public var text: String {
        let (seconds, nanoseconds) = wall.quotientAndRemainder(dividingBy: 1_000_000_000)
        let (days, rest) = seconds.quotientAndRemainder(dividingBy: 86400)
        let date = Self.date(daysSinceEpoch: days)
        func padded(_ value: Int64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T"
            + "\(padded(rest / 3600, 2)):\(padded(rest / 60 % 60, 2)):\(padded(rest % 60, 2))"
            + ".\(padded(nanoseconds / 1_000_000, 3))Z"
    }

    /// Gregorian date of a day not before 1970-01-01. Years are counted from March, so that the leap day comes last.
    private static func date(daysSinceEpoch days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468  // days from 0000-03-01
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
