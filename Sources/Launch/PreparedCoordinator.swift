import CSwiftCP
import Glibc
import SystemCalls
import Wire

/// A coordinator that is loaded while its starter still finds out whether it wants one.
///
///     init -> program loaded, nothing opened --open()--> it listens
///                                            --let go of--> it ends without a trace
public final class PreparedCoordinator {
    private let pid: Int32
    private let messages: OwnedDescriptor
    /// A byte opens it; nil = done.
    private var gate: OpenGate?

    /// Keeps the descriptor where it can be closed early.
    private final class OpenGate {
        let writing: OwnedDescriptor
        init(_ writing: consuming OwnedDescriptor) { self.writing = writing }
    }

    /// For `CoordinatorAccess.announce`. nil when the choice allows none, one is there already, or it cannot be started:
    /// then the ordinary way says why.
    public init?(_ access: CoordinatorAccess) {
        guard access.choice != .join else { return nil }
        do throws(WireError) {
            _ = try Connection(access.address)
            return nil
        } catch {
            guard error.kind == .noCoordinator else { return nil }
        }
        guard let (path, words) = try? access.coordinatorWords(), let gate = try? OwnedDescriptor.pipe(),
            let messages = try? CoordinatorAccess.messagePipe(), gate.reading.raw > 2, messages.writing.raw > 2,
            let pid = try? CoordinatorAccess.spawn(
                path, words, input: gate.reading.raw, messages: messages.writing.raw)
        else { return nil }
        self.pid = pid
        self.messages = messages.reading
        self.gate = OpenGate(gate.writing)
    }

    deinit {
        guard gate != nil else { return }
        gate = nil
        _ = try? CoordinatorAccess.waitForEnd(of: pid, until: .now.advanced(seconds: 1))
    }

    /// It opens its address. Returns when it listens (status 0), or what it has said instead; nil when it was opened
    /// before.
    func open(until deadline: Instant) throws(SystemError) -> (status: Int32, messages: String)? {
        guard let gate else { return nil }
        self.gate = nil
        try gate.writing.write([1], object: "the gate of swiftcp_coordinator")
        let status = try CoordinatorAccess.waitForEnd(of: pid, until: deadline)
        return (status, CoordinatorAccess.lastLine(messages))
    }
}
