import CSwiftCP
import Glibc
import SystemCalls

/// Leads the threads of stopped processes while a checkpoint lasts (`swiftcp_tracer.h`). When it goes they are as they were.
final class Tracer {
    private let tracer: Int32
    /// Shows an end of file when one of the processes has been continued.
    let raw: Int32
    /// What has stopped them, by pid.
    let signals: [Int32: UInt32]

    init(_ pids: [Int32]) throws(SystemError) {
        var entries = pids.map { scp_stopped(pid: $0, signal: 0) }
        var tracer: Int32 = 0
        let result = scp_lead(&entries, entries.count, &tracer)
        guard result >= 0 else { throw SystemError(-result, "lead the threads of", "the stopped processes") }
        (raw, self.tracer) = (result, tracer)
        signals = Dictionary(
            entries.map { ($0.pid, UInt32(bitPattern: $0.signal)) }, uniquingKeysWith: { first, _ in first })
    }

    deinit { scp_lead_end(raw, tracer) }
}
