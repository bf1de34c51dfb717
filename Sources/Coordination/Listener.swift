import Glibc
import SystemCalls
import Wire

/// A Unix socket that this process alone answers.
///
/// A lock beside the socket decides who may use the name, so that two coordinators that start at once cannot remove
/// each other's socket; what a dead coordinator left is replaced.
final class Listener {
    let descriptor: OwnedDescriptor
    let address: Address
    private let path: String
    private let lock: OwnedDescriptor

    init(_ address: Address) throws(CoordinatorError) {
        guard case .unix(let path) = address else {
            throw CoordinatorError("\(address): coordinators on TCP are not yet available; use unix:PATH")
        }
        self.address = address
        self.path = path
        do throws(SystemError) {
            lock = try Self.takeLock(path, address)
            descriptor = try Self.listen(path, address)
        } catch {
            let advised =
                error.hint.isEmpty ? error.hinting("the folder of a socket must exist and be writable") : error
            throw CoordinatorError(advised)
        }
    }

    /// Removes the socket and the lock's file. Connections that exist stay.
    func withdraw() {
        unlink(path)
        unlink(path + ".lock")
    }

    private static func takeLock(_ path: String, _ address: Address) throws(SystemError) -> OwnedDescriptor {
        // The file may be removed by its last owner between open and lock: then the lock is worth nothing.
        for _ in 0..<100 {
            let lock = try Files.open(path + ".lock", O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
            guard lock.tryLockExclusive() else { throw inUse(path, address) }
            let mine = try lock.status(object: path + ".lock")
            if let there = try? Files.linkStatus(path + ".lock"), there.inode == mine.inode { return lock }
        }
        throw inUse(path, address)
    }

    private static func inUse(_ path: String, _ address: Address) -> SystemError {
        var owner = ""
        if let other = try? Sockets.connectUnix(path, limit: 1000), let peer = try? other.peerCredentials(),
            peer.pid > 0
        {
            owner = " (process \(peer.pid))"
        }
        return SystemError(
            EADDRINUSE, "listen at", "\(address)",
            hint:
                "another coordinator\(owner) is there; use that one, end it with swiftcp_command --quit, or give another"
                + " address with --coordinator")
    }

    private static func listen(_ path: String, _ address: Address) throws(SystemError) -> OwnedDescriptor {
        if let status = try? Files.linkStatus(path) {
            guard status.isSocket else {
                throw SystemError(EEXIST, "listen at", "\(address)", hint: "a file that is no socket has that name")
            }
            // Somebody who does not know our lock may answer there.
            if (try? Sockets.connectUnix(path, limit: 1000)) != nil { throw inUse(path, address) }
            try Files.unlink(path)
        }
        let before = umask(0o177)
        defer { umask(before) }
        let descriptor = try Sockets.bindUnix(path)
        try descriptor.listen()
        return descriptor
    }
}

/// Why a coordinator cannot start or go on, as one sentence.
public struct CoordinatorError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
    init(_ text: String) { description = text }
    init(_ error: SystemError) { description = error.description }
}
