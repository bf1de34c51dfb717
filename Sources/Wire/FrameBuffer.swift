import CSwiftCP

/// Cuts a stream of bytes into messages. One for each connection.
///
/// After a throw the stream is lost: the connection has to be closed.
public struct FrameBuffer: Sendable {
    private var bytes: [UInt8] = []
    private var start = 0
    private let maximum: Int

    /// - Parameter maximum: bytes of the longest frame accepted, header included. Everything but REPLY and the messages
    ///   that end in a table fits 16 KiB; tables may always be as long as the protocol allows.
    public init(maximum: Int = Int(SCP_FRAME_MAXIMUM)) { self.maximum = maximum }

    private static let tables = [SCP_MESSAGE_CHILDREN, SCP_MESSAGE_SURVEY, SCP_MESSAGE_ASSIGNMENT].map {
        UInt16($0.rawValue)
    }

    public mutating func append(_ more: some Collection<UInt8>) { bytes.append(contentsOf: more) }

    /// Bytes that have come and belong to no finished message.
    public var pending: Int { bytes.count - start }

    /// The next complete message, nil until more bytes come.
    public mutating func next() throws(WireError) -> Message? {
        guard pending >= frameHeaderLength else { return nil }
        var header = PayloadReader(bytes[start..<start + frameHeaderLength], what: "frame")
        let length = Int(try header.integer(UInt32.self))
        let version = try header.integer(UInt16.self)
        let type = try header.integer(UInt16.self)
        guard version == UInt16(SCP_PROTOCOL_VERSION) else {
            throw WireError(
                .version(type),
                "protocol version \(version), where \(SCP_PROTOCOL_VERSION) is spoken here; use the"
                    + " commands, the coordinator and the library of one SwiftCP release")
        }
        let limit = Self.tables.contains(type) ? Int(SCP_FRAME_MAXIMUM) : maximum
        guard length >= frameHeaderLength, length <= limit else {
            throw WireError(.malformed, "a message of \(length) bytes")
        }
        guard pending >= length else { return nil }
        let payload = bytes[start + frameHeaderLength..<start + length]
        let message = try Message.decode(type: type, payload: payload)
        start += length
        compact()
        return message
    }

    private mutating func compact() {
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: start < 1 << 16)
            start = 0
        } else if start > 1 << 16 {
            bytes.removeFirst(start)
            start = 0
        }
    }
}
