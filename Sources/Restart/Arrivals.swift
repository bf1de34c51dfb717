import CSwiftCP
import Glibc
import Options
import SystemCalls

/// What restorers and shims tell of the processes of a set, each over a pipe of its own, until all run.
///
///     each: ARRIVED --+                  each: RESTORED --+
///     each: ARRIVED --+--> go: a byte --> each: RESTORED --+--> go: its end --> all run
///     each: ARRIVED --+                  each: RESTORED --+
final class Arrivals {
    private struct Process {
        /// For messages.
        let name: String
        let status: OpenFile
        var reports = ReportReader()
        var hasArrived = false
        var isRestored = false
        var isOpen = true
    }
    private var processes: [Process]
    /// Writing end of the pipe that lets them go; nil when all run.
    private var go: OpenFile?
    /// The byte has been written.
    private var isGoing = false
    /// The first thing that went wrong.
    private(set) var failure: RestartError?
    /// Shown until they are let go.
    private let progress: RestartProgress

    /// - Parameters:
    ///   - statuses: reading ends, in the order of `names`.
    ///   - go: the writing end of the pipe that all wait at.
    init(names: [String], statuses: [OpenFile], go: OpenFile?, progress: RestartProgress) {
        self.progress = progress
        processes = zip(names, statuses).map { Process(name: $0, status: $1) }
        self.go = go
    }

    /// Milliseconds after which `look` is due; nil: never.
    var pace: Int32? { isGoing ? nil : progress.pace }

    /// Shows how far they are.
    func look() { progress.look() }

    /// Nothing of it stays on the terminal.
    func endProgress() { progress.end() }

    var isRestored: Bool { processes.allSatisfy(\.isRestored) }

    /// They have been let go: what happens to them from now on is the program's own doing.
    var haveGone: Bool { isGoing }

    /// The pipes, to wait for.
    var descriptors: [Int32] { processes.map { $0.status.raw } }

    /// Reads what there is from the pipe at this place. True when it has come to its end.
    func read(_ index: Int, _ report: Reporter) -> Bool {
        guard processes[index].isOpen else { return false }
        while let record = processes[index].reports.next(from: processes[index].status.raw) {
            take(record, index, report)
        }
        guard processes[index].reports.isAtEnd else { return false }
        processes[index].isOpen = false
        // Another one of the set, already on its way, may have ended it.
        if haveGone, failure == nil {
            processes[index].isRestored = true
            letRun()
        }
        if !processes[index].isRestored {
            fail(RestartError("\(processes[index].name): the process ended before the program was back"))
        }
        return true
    }

    private func take(_ record: scp_arrival_report, _ index: Int, _ report: Reporter) {
        let name = processes.count > 1 ? "\(processes[index].name): " : ""
        switch record.state {
        case SCP_ARRIVAL_WARNING.rawValue:
            progress.hide()
            report.warning(name + record.sentence)
        case SCP_ARRIVAL_ARRIVED.rawValue:
            processes[index].hasArrived = true
            letGo()
        case SCP_ARRIVAL_RESTORED.rawValue:
            (processes[index].hasArrived, processes[index].isRestored) = (true, true)
            letRun()
        default:
            fail(
                RestartError(
                    "\(processes[index].name): \(record.sentence)",
                    status: record.error == EBADMSG ? ExitStatus.badImage : ExitStatus.failed,
                    isTaken: record.error == EEXIST))
        }
    }

    private func fail(_ error: RestartError) { failure = failure ?? error }

    /// When the last has arrived. The byte stays in the pipe: each sees it.
    private func letGo() {
        guard failure == nil, !isGoing, let pipe = go, processes.allSatisfy(\.hasArrived) else { return }
        progress.end()
        var byte: UInt8 = 1
        if write(pipe.raw, &byte, 1) != 1 {
            fail(RestartError(SystemError(errno, "let go", "the restored processes")))
        }
        isGoing = true
    }

    private func letRun() {
        if isRestored { go = nil }
    }
}

extension scp_arrival_report {
    /// The words with the reason behind them; the shim has put it there itself.
    fileprivate var sentence: String {
        let words = withUnsafeBytes(of: text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let reason = SystemError.reason(error)
        return error == 0 || error == EBADMSG || words.contains(reason) ? words : "\(words): \(reason)"
    }
}

/// Cuts the bytes of a status pipe into records.
struct ReportReader {
    private var bytes: [UInt8] = []
    private(set) var isAtEnd = false

    /// The next whole record; nil when there is none now.
    mutating func next(from raw: Int32) -> scp_arrival_report? {
        let size = MemoryLayout<scp_arrival_report>.size
        while bytes.count < size, !isAtEnd, scp_poll(raw, Int32(POLLIN), 0) > 0 {
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = read(raw, &chunk, chunk.count)
            if count > 0 { bytes += chunk[..<count] } else { isAtEnd = count == 0 || errno != EINTR }
        }
        guard bytes.count >= size else { return nil }
        defer { bytes.removeFirst(size) }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: scp_arrival_report.self) }
    }
}
