import CSwiftCP
import Glibc

/// A point of CLOCK_MONOTONIC, in nanoseconds.
public struct Instant: Comparable, Hashable, Sendable {
    public let nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    public static var now: Instant { Instant(nanoseconds: scp_monotonic()) }
    public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Later by so many seconds; saturates.
    public func advanced(seconds: Double) -> Instant {
        let limit = Double(Int64.max / 4)
        return Instant(nanoseconds: nanoseconds &+ Int64(Swift.min(Swift.max(seconds * 1e9, -limit), limit)))
    }

    /// Seconds from the other one to this one.
    public func seconds(since other: Instant) -> Double { Double(nanoseconds - other.nanoseconds) / 1e9 }

    /// How long until then, for poll(2): rounded up, 0 when it has passed.
    public var millisecondsLeft: Int32 {
        let left = (nanoseconds - Instant.now.nanoseconds + 999_999) / 1_000_000
        return Int32(clamping: max(left, 0))
    }
}

/// CLOCK_REALTIME.
public enum WallClock {
    /// Nanoseconds since the epoch.
    public static var now: Int64 { scp_realtime() }
}

/// EPOLLIN, EPOLLOUT, EPOLLERR | EPOLLHUP: kernel interface, include/uapi/linux/eventpoll.h.
private enum PollerBits {
    static let readable: UInt32 = 0x1
    static let writable: UInt32 = 0x4
    static let ended: UInt32 = 0x8 | 0x10
}

/// An epoll set. Each descriptor is registered under a number of the caller's, which comes back with its events.
///
/// *Source:* epoll(7).
public struct Poller: ~Copyable {
    public struct Event: Equatable, Sendable {
        public let registration: UInt64
        public let readable: Bool
        public let writable: Bool
        /// The other end is gone or the descriptor is in error; what is still readable should be read first.
        public let ended: Bool
    }

    private let descriptor: OwnedDescriptor

    public init() throws(SystemError) {
        descriptor = OwnedDescriptor(owning: try check(scp_epoll_create(), "make", "an epoll set"))
    }

    public borrowing func add(_ raw: Int32, registration: UInt64, writing: Bool = false) throws(SystemError) {
        try control(1, raw, registration, writing)
    }

    public borrowing func change(_ raw: Int32, registration: UInt64, writing: Bool) throws(SystemError) {
        try control(3, raw, registration, writing)
    }

    public borrowing func remove(_ raw: Int32) throws(SystemError) {
        try check(scp_epoll_control(descriptor.raw, 2, raw, 0, 0), "stop watching", "descriptor \(raw)")
    }

    private borrowing func control(
        _ operation: Int32, _ raw: Int32, _ registration: UInt64, _ writing: Bool
    ) throws(SystemError) {
        let events = PollerBits.readable | (writing ? PollerBits.writable : 0)
        try check(
            scp_epoll_control(descriptor.raw, operation, raw, events, registration), "watch", "descriptor \(raw)")
    }

    /// Waits for events, at most `limit` milliseconds (-1 = for ever). A signal gives none.
    public borrowing func wait(limit: Int32) throws(SystemError) -> [Event] {
        var raw = [scp_event](repeating: scp_event(), count: 64)
        let count = try check(scp_epoll_wait(descriptor.raw, &raw, 64, limit), "wait for", "events")
        return raw.prefix(Int(count)).map { event in
            Event(
                registration: event.data,
                readable: event.events & PollerBits.readable != 0,
                writable: event.events & PollerBits.writable != 0,
                ended: event.events & PollerBits.ended != 0)
        }
    }
}

/// Signals as something to read; they are blocked in this thread from then on.
public struct SignalQueue: ~Copyable {
    private let descriptor: OwnedDescriptor
    public var raw: Int32 { descriptor.raw }

    public init(_ signals: [Int32]) throws(SystemError) {
        descriptor = OwnedDescriptor(owning: try check(scp_signalfd(signals, signals.count), "make", "a signalfd"))
    }

    /// The next pending signal, nil when there is none.
    public borrowing func next() throws(SystemError) -> Int32? {
        let number = try check(scp_signalfd_read(descriptor.raw), "read", "the signalfd")
        return number == 0 ? nil : number
    }
}

/// One shot at a time; CLOCK_MONOTONIC.
public struct Alarm: ~Copyable {
    private let descriptor: OwnedDescriptor
    public var raw: Int32 { descriptor.raw }

    public init() throws(SystemError) {
        descriptor = OwnedDescriptor(owning: try check(scp_timerfd_create(), "make", "a timerfd"))
    }

    /// Rings at `instant` (at once when that has passed); nil takes the order back.
    public borrowing func set(_ instant: Instant?) throws(SystemError) {
        let at = instant.map { max($0.nanoseconds, 1) } ?? 0
        try check(scp_timerfd_set(descriptor.raw, at), "set", "the timer")
    }

    /// Takes note of the ringing, so that the descriptor is no longer readable.
    public borrowing func acknowledge() {
        var count: UInt64 = 0
        _ = read(descriptor.raw, &count, 8)
    }
}
