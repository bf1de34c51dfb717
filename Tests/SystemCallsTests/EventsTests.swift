import CSwiftCP
import Glibc
import Testing

@testable import SystemCalls

@Suite("Sockets, events, processes", .timeLimit(.minutes(1)))
struct EventsTests {
    private let scratch = Scratch()

    @Test("A connection over a Unix socket, with the peer's identity")
    func unixSocket() throws {
        let path = scratch.path + "/socket"
        let listener = try Sockets.bindUnix(path)
        try listener.listen()
        #expect(try listener.accept() == nil)
        let client = try Sockets.connectUnix(path)
        guard let server = try listener.accept() else {
            Issue.record("no connection")
            return
        }
        let peer = try server.peerCredentials()
        #expect(peer == PeerCredentials(pid: getpid(), user: geteuid(), group: getegid()))
        #expect(try receive(server) == .wouldBlock)
        let sent = try [1, 2, 3].withUnsafeBytes { try client.send($0) }
        #expect(sent == .bytes(24))
        #expect(try server.wait(until: Instant.now.advanced(seconds: 5)))
        #expect(try receive(server) == .bytes(24))
        try client.close()
        #expect(try receive(server) == .ended)
        let late = try [1].withUnsafeBytes { try server.send($0) }
        #expect(late == .ended, "no SIGPIPE")
        #expect { _ = try Sockets.bindUnix(path) } throws: { ($0 as? SystemError)?.code == EADDRINUSE }
    }

    @Test("A TCP port where nobody listens, and a host that is none")
    func tcp() {
        #expect {
            _ = try Sockets.connectTCP(host: "127.0.0.1", port: 1, limit: 2000)
        } throws: { ($0 as? SystemError)?.code == ECONNREFUSED }
        #expect {
            _ = try Sockets.connectTCP(host: "host name", port: 1, limit: 2000)
        } throws: { ($0 as? SystemError)?.description.contains("host name:1") == true }
    }

    private func receive(_ descriptor: borrowing OwnedDescriptor) throws -> Transfer {
        var buffer = [UInt8](repeating: 0, count: 100)
        return try buffer.withUnsafeMutableBytes { try descriptor.receive(into: $0) }
    }

    @Test("epoll tells by registration who is ready, and who has gone")
    func poller() throws {
        let poller = try Poller()
        let pipe = try OwnedDescriptor.pipe()
        try poller.add(pipe.reading.raw, registration: 42)
        #expect(try poller.wait(limit: 0).isEmpty)
        try pipe.writing.write([1])
        #expect(
            try poller.wait(limit: 5000) == [.init(registration: 42, readable: true, writable: false, ended: false)])
        try pipe.writing.close()
        #expect(try poller.wait(limit: 5000).first?.ended == true)
        try poller.remove(pipe.reading.raw)
        #expect(try poller.wait(limit: 0).isEmpty)
    }

    @Test("An alarm rings once at its time, also at one that has passed, and not when taken back")
    func alarm() throws {
        let poller = try Poller()
        let alarm = try Alarm()
        try poller.add(alarm.raw, registration: 1)
        try alarm.set(Instant.now.advanced(seconds: -5))
        #expect(try poller.wait(limit: 5000).count == 1)
        alarm.acknowledge()
        #expect(try poller.wait(limit: 0).isEmpty)
        let start = Instant.now
        try alarm.set(start.advanced(seconds: 0.02))
        #expect(try poller.wait(limit: 5000).count == 1)
        #expect(Instant.now.seconds(since: start) >= 0.02)
        try alarm.set(start)
        try alarm.set(nil)
        #expect(try poller.wait(limit: 0).isEmpty)
    }

    @Test("A process handle becomes readable with the end of its process, and kills no other")
    func processHandle() throws {
        let child = scp_fork()
        if child == 0 {
            pause()
            _exit(0)
        }
        #expect(child > 0)
        let handle = try ProcessHandle(pid: child)
        let poller = try Poller()
        try poller.add(handle.raw, registration: 1)
        #expect(try poller.wait(limit: 0).isEmpty)
        try handle.signal(SIGKILL)
        #expect(try poller.wait(limit: 5000).count == 1)
        #expect(waitpid(child, nil, 0) == child)
        #expect { try handle.signal(SIGKILL) } throws: { ($0 as? SystemError)?.code == ESRCH }
        #expect { _ = try ProcessHandle(pid: child) } throws: { ($0 as? SystemError)?.code == ESRCH }
    }

    @Test("A lock is one open file's alone")
    func lock() throws {
        let path = scratch.path + "/lock"
        let first = try Files.open(path, O_RDWR | O_CREAT, mode: 0o600)
        let second = try Files.open(path, O_RDWR)
        #expect(first.tryLockExclusive() == true)
        #expect(second.tryLockExclusive() == false)
        try first.close()
        #expect(second.tryLockExclusive() == true)
    }

    @Test("Waiting ends at its limit")
    func waitLimit() throws {
        let pipe = try OwnedDescriptor.pipe()
        let start = Instant.now
        #expect(try !pipe.reading.wait(until: start.advanced(seconds: 0.02)))
        #expect(Instant.now.seconds(since: start) >= 0.02)
    }

    @Test("Instants saturate instead of trapping")
    func saturation() {
        let far = Instant.now.advanced(seconds: 1e300)
        #expect(far > Instant.now)
        #expect(Instant.now.advanced(seconds: -1e300) < Instant.now)
    }
}
