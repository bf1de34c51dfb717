import CSwiftCP
import Glibc

/// Who stands at the other end of a Unix socket.
public struct PeerCredentials: Equatable, Sendable {
    /// As this process's pid namespace has it; 0 when it cannot be seen from here.
    public let pid: Int32
    public let user: UInt32
    public let group: UInt32

    public init(pid: Int32, user: UInt32, group: UInt32) {
        (self.pid, self.user, self.group) = (pid, user, group)
    }
}

/// Stream sockets. All are close-on-exec.
public enum Sockets {
    /// Connects to a listening Unix socket within `limit` milliseconds (EAGAIN when it is up); non-blocking.
    public static func connectUnix(_ path: String, limit: Int32 = 5000) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try check(scp_unix_connect(path, limit), "connect to", path))
    }

    /// Connects to a host; non-blocking, TCP_NODELAY. `limit` in milliseconds for each address of the host.
    public static func connectTCP(host: String, port: UInt16, limit: Int32) throws(SystemError) -> OwnedDescriptor {
        var text = [CChar](repeating: 0, count: 128)
        let result = scp_tcp_connect(host, port, limit, &text, text.count)
        let detail = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return OwnedDescriptor(owning: try check(result, "connect to", "\(host):\(port)", hint: detail))
    }

    /// A non-blocking Unix socket with this name. EADDRINUSE when the name exists, whoever made it.
    public static func bindUnix(_ path: String) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try check(scp_unix_bind(path), "bind", path))
    }
}

/// What became of a non-blocking read or write.
public enum Transfer: Equatable, Sendable {
    case bytes(Int)
    case wouldBlock
    /// The other end has closed.
    case ended
}

extension OwnedDescriptor {
    /// The backlog is cut by the kernel to net.core.somaxconn: as many as can be, since a fork storm comes all at once.
    public borrowing func listen(backlog: Int32 = 65535) throws(SystemError) {
        try check(scp_listen(raw, backlog), "listen on", "a socket")
    }

    /// The next waiting connection (non-blocking), nil when there is none.
    public borrowing func accept() throws(SystemError) -> OwnedDescriptor? {
        while true {
            let result = scp_accept(raw)
            if result >= 0 { return OwnedDescriptor(owning: result) }
            switch -result {
            case EAGAIN: return nil
            case EINTR, ECONNABORTED: continue
            default: throw SystemError(-result, "accept", "a connection")
            }
        }
    }

    /// SO_PEERCRED: the process that connected, as it was then.
    public borrowing func peerCredentials() throws(SystemError) -> PeerCredentials {
        var peer = scp_peer()
        try check(scp_peer_credentials(raw, &peer), "identify", "the peer of a socket")
        return PeerCredentials(pid: peer.pid, user: peer.uid, group: peer.gid)
    }

    /// One read of a non-blocking descriptor.
    public borrowing func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Transfer {
        while true {
            let count = Glibc.read(raw, buffer.baseAddress, buffer.count)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .ended }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case ECONNRESET, EPIPE: return .ended
            default: throw .last("read from", "a socket")
            }
        }
    }

    /// One send of a non-blocking socket; no SIGPIPE.
    public borrowing func send(_ buffer: UnsafeRawBufferPointer) throws(SystemError) -> Transfer {
        while true {
            let count = scp_send(raw, buffer.baseAddress, buffer.count)
            if count >= 0 { return .bytes(Int(count)) }
            switch Int32(-count) {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case ECONNRESET, EPIPE: return .ended
            default: throw SystemError(Int32(-count), "write to", "a socket")
            }
        }
    }

    /// Waits until the descriptor is readable (or writable), at most until `deadline`. False when the time is up.
    public borrowing func wait(forWriting: Bool = false, until deadline: Instant) throws(SystemError) -> Bool {
        while true {
            let milliseconds = deadline.millisecondsLeft
            let result = scp_poll(raw, forWriting ? POLLOUT : POLLIN, milliseconds)
            if result > 0 { return true }
            if result == 0, milliseconds == 0 { return false }
            if result < 0, result != -EINTR { throw SystemError(-result, "wait for", "a descriptor") }
        }
    }
}
