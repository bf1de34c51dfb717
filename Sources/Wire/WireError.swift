import SystemCalls

/// What went wrong between this process and a coordinator (or a coordinator and its peer), as one sentence.
public struct WireError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// Nobody listens at the address: exit status 3.
        case noCoordinator
        /// Somebody is there, but it is not ours to talk to.
        case refused
        /// What is asked for must wait for something that is about to end: to be tried again.
        case busy
        /// An address that cannot be used.
        case address
        /// The other end did not answer in time.
        case timeLimit
        /// The other end closed the connection.
        case closed
        /// The other end speaks another protocol version; the value is the type of its message.
        case version(UInt16)
        /// Bytes that are no message.
        case malformed
        /// A text that does not fit its field.
        case tooLong
        case system
    }

    public let kind: Kind
    public let text: String

    public init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    public init(_ error: SystemError) { self.init(.system, error.description) }

    public var description: String { text }

    /// The contract's exit status of a command that ends with this error.
    public var exitStatus: Int32 { kind == .noCoordinator ? 3 : 1 }
}

/// Runs a system call whose failure is the connection's failure.
func calling<Value>(_ body: () throws(SystemError) -> Value) throws(WireError) -> Value {
    do throws(SystemError) { return try body() } catch { throw WireError(error) }
}
