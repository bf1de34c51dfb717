import CSwiftCP
import Glibc
import SystemCalls

/// A child of this process that waits before exec until it is let go, so that others can be told its pid first.
struct GatedChild: ~Copyable {
    let pid: Int32
    private let path: String
    private let gate: OwnedDescriptor
    private let report: OwnedDescriptor

    /// Forks. The child has the signal state of `signals` when it execs `path`.
    init(
        _ path: String, words: [[UInt8]], environment: ProgramEnvironment, signals: scp_signal_state
    ) throws(SystemError) {
        // The child's ends are closed here when this returns, whatever happens.
        let gatePipe = try OwnedDescriptor.pipe()
        let reportPipe = try OwnedDescriptor.pipe()
        let started = withUnsafePointer(to: signals) { signals in
            path.withCString { path in
                withWords(words) { words in
                    environment.withPointers { variables in
                        var order = scp_start()
                        (order.path, order.arguments, order.environment) = (path, words, variables)
                        (order.gate, order.opener) = (gatePipe.reading.raw, gatePipe.writing.raw)
                        (order.report, order.signals, order.messages) = (reportPipe.writing.raw, signals, -1)
                        return scp_start(&order)
                    }
                }
            }
        }
        let pid = try check(started, "start", path)
        self.init(pid: pid, path: path, gate: gatePipe.writing, report: reportPipe.reading)
    }

    private init(pid: Int32, path: String, gate: consuming OwnedDescriptor, report: consuming OwnedDescriptor) {
        (self.pid, self.path) = (pid, path)
        self.gate = gate
        self.report = report
    }

    /// Lets it exec; throws, and has waited for the child, when that fails.
    consuming func release() throws(SystemError) {
        try gate.write([1], object: "the gate of \(path)")
        // The pipe is closed by a successful exec.
        let bytes = try report.readToEnd(limit: 4, object: "the start of \(path)")
        guard !bytes.isEmpty else { return }
        waitpid(pid, nil, 0)
        throw SystemError(bytes.reversed().reduce(0) { $0 << 8 | Int32($1) }, "execute", path)
    }

    /// Ends it without exec.
    consuming func abandon() {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }
}
