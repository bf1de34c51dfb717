import CSwiftCP
import Glibc
import SystemCalls

/// A command's connection to a coordinator: one message out, one in, each with a time limit. Blocking.
///
/// The coordinator at a Unix socket must belong to this user, else connecting is refused: it says where images are
/// written.
public struct Connection: ~Copyable {
    private let descriptor: OwnedDescriptor
    private var incoming = FrameBuffer()
    public let address: Address
    /// The coordinator's pid as this process sees it, 0 when it cannot.
    public let coordinatorPid: Int32
    /// To wait for its being readable beside other descriptors; borrowed.
    public var raw: Int32 { descriptor.raw }

    /// Time to connect and for a message to be taken, in seconds.
    public static let usualLimit = 5.0

    /// - Parameter asAdministrator: root may ask any user's coordinator, as long as it does nothing that it says.
    public init(
        _ address: Address, limit seconds: Double = usualLimit, asAdministrator: Bool = false
    ) throws(WireError) {
        descriptor = try Self.open(address, limit: seconds, anyUser: asAdministrator && Processes.user == 0)
        self.address = address
        coordinatorPid = (try? descriptor.peerCredentials().pid) ?? 0
    }

    private static func open(
        _ address: Address, limit seconds: Double, anyUser: Bool
    ) throws(WireError) -> OwnedDescriptor {
        guard case .unix(let path) = address else {
            throw WireError(.address, "coordinators on TCP are not yet available; use unix:PATH instead of \(address)")
        }
        do throws(SystemError) {
            let descriptor = try Sockets.connectUnix(path, limit: Int32(clamping: Int(seconds * 1000)))
            let user = try descriptor.peerCredentials().user
            if user == Processes.user || anyUser { return descriptor }
            throw SystemError(SystemError.notPermitted, "use", "\(address), a coordinator of user \(user)")
        } catch { throw explain(error, address) }
    }

    private static func explain(_ error: SystemError, _ address: Address) -> WireError {
        switch error.code {
        case SystemError.noEntry, SystemError.connectionRefused:
            WireError(
                .noCoordinator,
                "no coordinator at \(address) (\(error.reason)); start one with swiftcp_coordinator, or"
                    + " start a program with swiftcp_launch")
        case SystemError.tryAgain:
            WireError(.timeLimit, "the coordinator at \(address) takes no connection; it may be stopped or overloaded")
        case SystemError.notPermitted:
            WireError(.refused, error.hinting("give an address of your own with --coordinator").description)
        default: WireError(error)
        }
    }

    /// Sends a message; returns when the kernel has taken all of it.
    public mutating func send(_ message: Message, limit seconds: Double = usualLimit) throws(WireError) {
        let bytes = try message.encoded()
        let deadline = Instant.now.advanced(seconds: seconds)
        var done = 0
        while done < bytes.count {
            switch try attempt(bytes[done...]) {
            case .bytes(let count): done += count
            case .ended: throw closed
            case .wouldBlock:
                guard try ready(forWriting: true, deadline) else { throw late(seconds) }
            }
        }
    }

    /// The next message from the coordinator.
    public mutating func receive(limit seconds: Double = usualLimit) throws(WireError) -> Message {
        let deadline = Instant.now.advanced(seconds: seconds)
        while true {
            if let message = try incoming.next() { return message }
            guard try ready(forWriting: false, deadline) else { throw late(seconds) }
            try fill()
        }
    }

    /// Whether something can be read, or the connection is at its end, within so many seconds.
    public borrowing func hasInput(within seconds: Double) throws(WireError) -> Bool {
        try ready(forWriting: false, Instant.now.advanced(seconds: seconds))
    }

    private mutating func fill() throws(WireError) {
        var chunk = [UInt8](repeating: 0, count: 65536)
        let result = chunk.withUnsafeMutableBytes { buffer -> Result<Transfer, SystemError> in
            do throws(SystemError) { return .success(try descriptor.receive(into: buffer)) } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(.bytes(let count)): incoming.append(chunk[..<count])
        case .success(.wouldBlock): break
        case .success(.ended): throw closed
        case .failure(let error): throw WireError(error)
        }
    }

    private borrowing func attempt(_ bytes: ArraySlice<UInt8>) throws(WireError) -> Transfer {
        let result = bytes.withUnsafeBytes { buffer -> Result<Transfer, SystemError> in
            do throws(SystemError) { return .success(try descriptor.send(buffer)) } catch { return .failure(error) }
        }
        switch result {
        case .success(let transfer): return transfer
        case .failure(let error): throw WireError(error)
        }
    }

    private borrowing func ready(forWriting: Bool, _ deadline: Instant) throws(WireError) -> Bool {
        do throws(SystemError) { return try descriptor.wait(forWriting: forWriting, until: deadline) } catch {
            throw WireError(error)
        }
    }

    private var closed: WireError { WireError(.closed, "the coordinator at \(address) closed the connection") }

    private borrowing func late(_ seconds: Double) -> WireError {
        let shown = seconds == seconds.rounded() ? "\(Int(seconds))" : "\(seconds)"
        return WireError(.timeLimit, "the coordinator at \(address) did not answer within \(shown) s")
    }
}

extension Connection {
    /// Announces a process and waits for the coordinator's word. A refusal is thrown with the coordinator's reason.
    public mutating func announce(_ launch: Launch, limit seconds: Double = usualLimit) throws(WireError) -> Launched {
        try send(.launch(launch), limit: seconds)
        guard case .launched(let launched) = try receive(limit: seconds) else { throw unexpected }
        if launched.error != 0 { throw WireError(launched.error == EAGAIN ? .busy : .refused, launched.text) }
        return launched
    }

    /// Asks and waits for the answer, as JSON text.
    public mutating func ask(_ request: Request, limit seconds: Double) throws(WireError) -> String {
        try send(.request(request))
        guard case .reply(let text) = try receive(limit: seconds) else { throw unexpected }
        return text
    }

    private var unexpected: WireError {
        WireError(.malformed, "the coordinator at \(address) answered with another message than expected")
    }
}
