import SystemCalls
import Wire

/// One connection of the event loop: bytes in, messages out, and the other way round. Never blocks.
final class Link {
    let connection: ConnectionID
    let descriptor: OwnedDescriptor
    private var incoming: FrameBuffer
    private var outgoing: [UInt8] = []
    private var sent = 0
    /// No more messages are wanted from it.
    var isDeaf = false
    /// It is registered for writing.
    var awaitsWriting = false

    /// Everything that comes to a coordinator is shorter than this, but for tables; bytes.
    static let longestFrame = 32 << 10
    /// A peer that lets so many bytes pile up is dropped.
    static let longestBacklog = 64 << 20

    init(_ connection: ConnectionID, _ descriptor: consuming OwnedDescriptor) {
        self.connection = connection
        self.descriptor = descriptor
        incoming = FrameBuffer(maximum: Self.longestFrame)
    }

    enum Reading { case more, ended }

    /// Takes what has come, at most `chunk.count` bytes.
    func read(into chunk: inout [UInt8]) -> Reading {
        let result = chunk.withUnsafeMutableBytes { buffer in
            (try? descriptor.receive(into: buffer)) ?? .ended
        }
        switch result {
        case .bytes(let count):
            if !isDeaf { incoming.append(chunk[..<count]) }
            return .more
        case .wouldBlock: return .more
        case .ended: return .ended
        }
    }

    func nextMessage() throws(WireError) -> Message? { isDeaf ? nil : try incoming.next() }

    func queue(_ bytes: [UInt8]) { outgoing.append(contentsOf: bytes) }

    var hasOutput: Bool { sent < outgoing.count }

    /// Sends what the socket takes. False when the connection is of no more use.
    func flush() -> Bool {
        while hasOutput {
            let result = outgoing[sent...].withUnsafeBytes { buffer in (try? descriptor.send(buffer)) ?? .ended }
            switch result {
            case .bytes(let count): sent += count
            case .wouldBlock: return outgoing.count - sent <= Self.longestBacklog
            case .ended: return false
            }
        }
        outgoing.removeAll()
        sent = 0
        return true
    }
}
