import SystemCalls

/// Where a coordinator listens.
public enum Address: Hashable, Sendable, CustomStringConvertible {
    /// Absolute or relative path, at most 107 bytes.
    case unix(String)
    case tcp(host: String, port: UInt16)

    /// Bytes of `sockaddr_un.sun_path` without its NUL.
    static let longestPath = 107

    /// Reads `unix:PATH` or `tcp:HOST:PORT` (`[::1]` for an IPv6 host).
    public init(_ text: String) throws(WireError) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard !path.isEmpty, !path.utf8.contains(0) else {
                throw WireError(.address, "address \"\(text)\" has no path; write unix:PATH")
            }
            guard path.utf8.count <= Self.longestPath else {
                throw WireError(
                    .address,
                    "the path of address \"\(text)\" is longer than \(Self.longestPath) bytes; use a shorter one")
            }
            self = .unix(path)
        } else if text.hasPrefix("tcp:") {
            self = try Self.tcp(text, rest: text.dropFirst(4))
        } else {
            throw WireError(.address, "address \"\(text)\" is neither unix:PATH nor tcp:HOST:PORT")
        }
    }

    private static func tcp(_ text: String, rest: Substring) throws(WireError) -> Address {
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0
        else { throw WireError(.address, "address \"\(text)\" has no port from 1 to 65535; write tcp:HOST:PORT") }
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw WireError(.address, "address \"\(text)\" has no host; write tcp:HOST:PORT") }
        return .tcp(host: String(host), port: port)
    }

    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
        }
    }

    /// The same address from any working directory.
    public func absolute() throws(WireError) -> Address {
        guard case .unix(let path) = self, !path.hasPrefix("/") else { return self }
        let full = try calling { () throws(SystemError) in try Path.absolute(path) }
        return try Address("unix:" + full)
    }

    /// The address a user's commands meet at when none is given: a socket in the private run directory, which is made
    /// when it is missing.
    public static func standard() throws(WireError) -> Address {
        try Address("unix:" + RunDirectory.standard() + "/coordinator")
    }
}

/// The folder of a user's sockets: nobody else may enter it.
public enum RunDirectory {
    /// `$XDG_RUNTIME_DIR/swiftcp`, or `/tmp/swiftcp-UID` where the variable is unset; made with mode 0700, and refused
    /// when it belongs to somebody else, is a link, or others may enter it.
    public static func standard() throws(WireError) -> String {
        let path = location()
        try prepare(path, user: Processes.user)
        return path
    }

    /// The path alone, nothing made or checked.
    static func location() -> String {
        if let runtime = Environment.value("XDG_RUNTIME_DIR"), runtime.hasPrefix("/"), Files.exists(runtime) {
            return runtime + "/swiftcp"
        }
        return "/tmp/swiftcp-\(Processes.user)"
    }

    static func prepare(_ path: String, user: UInt32) throws(WireError) {
        do throws(SystemError) { try Files.makeDirectory(path, mode: 0o700) } catch {
            if error.code != SystemError.alreadyExists {
                throw WireError(error.hinting("give another address with --coordinator unix:PATH"))
            }
        }
        let status = try calling { () throws(SystemError) in try Files.linkStatus(path) }
        let advice = "remove it, or give another address with --coordinator unix:PATH"
        guard status.isDirectory else {
            throw WireError(.refused, "the run directory \(path) is not a folder; \(advice)")
        }
        guard status.owner == user else {
            throw WireError(
                .refused, "the run directory \(path) belongs to user \(status.owner), not to \(user); \(advice)")
        }
        guard status.permissions & 0o077 == 0 else {
            let mode = String(status.permissions, radix: 8)
            throw WireError(
                .refused,
                "others may enter the run directory \(path) (mode \(mode)); run chmod 700 \(path), or \(advice)")
        }
    }
}
