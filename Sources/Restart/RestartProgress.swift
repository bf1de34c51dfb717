import CRestart
import CSwiftCP
import SystemCalls
import Wire

/// How far the memory of the processes is, as a line on the user's terminal; it is away before a program runs.
///
///     unpackers --+--> counter (a page that all share) <-- look: this process, ten times a second
///     restorers --+
///
/// Where no line may be shown there is no counter, and nobody counts.
final class RestartProgress {
    private var line: ProgressLine?
    /// At an address of its own: one who looks on while it is lent reads it, too.
    private let counter = UnsafeMutablePointer<crestart_progress>.allocate(capacity: 1)
    /// Bytes; memory that is unpacked first counts half then, and half when it is in place.
    private var total: UInt64 = 0
    private var looked: Instant?

    /// - Parameter quietness: `Parsed.quietness`.
    init(quietness: Int) {
        line = ProgressLine(quietness: quietness)
        counter.initialize(to: crestart_progress(memory: -1, done: nil))
        if line != nil, crestart_progress_open(counter) < 0 { line = nil }
    }

    deinit {
        crestart_progress_close(counter)
        counter.deallocate()
    }

    /// For the restorers; borrowed, -1 = nobody counts.
    var descriptor: Int32 { counter.pointee.memory }

    /// Milliseconds after which somebody should look; nil: never.
    var pace: Int32? { line == nil ? nil : Int32(ProgressLine.pace * 1000) }

    /// Another attempt begins. Nothing has been done, and this is to do.
    func begin(_ memories: [MemoryPlan], unpacking: UInt64) {
        crestart_progress_reset(counter)
        total = memories.reduce(unpacking / 2) { $0 + $1.bytesToPlace }
    }

    func look() {
        let now = Instant.now
        guard line != nil, looked.map({ now.seconds(since: $0) >= ProgressLine.pace }) ?? true else { return }
        looked = now
        line?.show(min(crestart_progress_done(counter), total), of: total)
    }

    /// Takes the line away; the next look shows it again.
    func hide() { line?.clear() }

    /// Takes it away for good.
    func end() {
        hide()
        line = nil
        crestart_progress_close(counter)
    }

    /// Calls the body with one who looks on while images are unpacked; nil where nobody does.
    func onlooking<Result>(_ body: (UnsafePointer<crestart_onlooker>?) -> Result) -> Result {
        guard line != nil else { return body(nil) }
        var onlooker = crestart_onlooker()
        onlooker.progress = UnsafePointer(counter)
        onlooker.argument = Unmanaged.passUnretained(self).toOpaque()
        onlooker.look = { argument in
            guard let argument else { return }
            Unmanaged<RestartProgress>.fromOpaque(argument).takeUnretainedValue().look()
        }
        return withUnsafePointer(to: onlooker) { body($0) }
    }
}
