import Glibc
import SystemCalls
import Testing

@testable import Wire

@Suite("Addresses and the run directory")
struct AddressTests {
    @Test("Addresses and their spellings")
    func valid() throws {
        #expect(try Address("unix:/run/x") == .unix("/run/x"))
        #expect(try Address("tcp:node7:7779") == .tcp(host: "node7", port: 7779))
        #expect(try Address("tcp:[::1]:80") == .tcp(host: "::1", port: 80))
        for text in ["unix:/run/x", "tcp:node7:7779", "tcp:[::1]:80"] {
            #expect(try Address(text).description == text)
        }
        #expect(try Address("unix:here").absolute() == .unix(Files.currentDirectory() + "/here"))
    }

    @Test(
        "What is no address",
        arguments: ["", "unix:", "/run/x", "tcp:host", "tcp::1", "tcp:host:0", "tcp:host:65536", "tcp:host:x"])
    func invalid(text: String) {
        #expect(throws: WireError.self) { try Address(text) }
    }

    @Test("A path that does not fit a socket's name is refused, one that just fits is not")
    func longPath() throws {
        #expect(throws: WireError.self) { try Address("unix:/" + String(repeating: "x", count: 107)) }
        _ = try Address("unix:/" + String(repeating: "x", count: 106))
    }

    private func scratch() throws -> String {
        var template = Array("/tmp/swiftcp-wire-XXXXXX".utf8CString)
        return try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    @Test("The run directory is made private, and refused when it is not")
    func runDirectory() throws {
        let folder = try scratch()
        defer { try? Files.removeTree(folder) }
        let path = folder + "/run"
        try RunDirectory.prepare(path, user: Processes.user)
        #expect(try Files.status(path).permissions == 0o700)
        try RunDirectory.prepare(path, user: Processes.user)
        chmod(path, 0o750)
        #expect(throws: WireError.self) { try RunDirectory.prepare(path, user: Processes.user) }
        chmod(path, 0o700)
        #expect(throws: WireError.self) { try RunDirectory.prepare(path, user: Processes.user + 1) }
        try Files.replaceLink(folder + "/link", to: "run")
        #expect(throws: WireError.self) { try RunDirectory.prepare(folder + "/link", user: Processes.user) }
        try Files.write([], to: folder + "/file")
        #expect(throws: WireError.self) { try RunDirectory.prepare(folder + "/file", user: Processes.user) }
    }

    @Test("Nobody at the address: exit status 3; somebody who is silent: a time limit; tcp: not yet")
    func connections() throws {
        let folder = try scratch()
        defer { try? Files.removeTree(folder) }
        func connect(_ address: Address, limit: Double = 1) -> WireError? {
            do throws(WireError) {
                var connection = try Connection(address, limit: limit)
                _ = try connection.ask(Request(.status), limit: limit)
                return nil
            } catch { return error }
        }
        let address = try Address("unix:\(folder)/socket")
        #expect(connect(address)?.exitStatus == 3)
        let listener = try Sockets.bindUnix(folder + "/socket")
        #expect(connect(address)?.exitStatus == 3, "bound, but nobody listens")
        try listener.listen()
        #expect(connect(address, limit: 0.1)?.kind == .timeLimit)
        #expect(connect(try Address("tcp:localhost:7779"))?.text.contains("not yet available") == true)
    }

    @Test("A coordinator that closes, or answers something else, is said so")
    func badAnswers() throws {
        let folder = try scratch()
        defer { try? Files.removeTree(folder) }
        let listener = try Sockets.bindUnix(folder + "/socket")
        try listener.listen()
        var connection = try Connection(try Address("unix:\(folder)/socket"))
        guard let peer = try listener.accept() else {
            Issue.record("no connection")
            return
        }
        try connection.send(.request(Request(.status)))
        try peer.write(try Message.kill.encoded())
        #expect(try connection.receive(limit: 5) == .kill)
        try peer.close()
        #expect {
            try connection.receive(limit: 5)
        } throws: { ($0 as? WireError)?.kind == .closed }
    }

    @Test("A full backlog is a time limit, not a hang")
    func fullBacklog() throws {
        let folder = try scratch()
        defer { try? Files.removeTree(folder) }
        let listener = try Sockets.bindUnix(folder + "/socket")
        try listener.listen(backlog: 0)
        let address = try Address("unix:\(folder)/socket")
        let first = try Connection(address)
        #expect {
            _ = try Connection(address, limit: 0.1)
        } throws: { ($0 as? WireError)?.kind == .timeLimit }
        _ = consume first
    }
}

@Suite("Replies in words")
struct ReplyTextTests {
    @Test("Amounts for people")
    func quantities() {
        #expect(Quantity.bytes(0) == "0 B")
        #expect(Quantity.bytes(999) == "999 B")
        #expect(Quantity.bytes(12_345_678) == "12.3 MB")
        #expect(Quantity.bytes(.max) == "18.4 EB")
        #expect(Quantity.duration(59.94) == "59.9 s")
        #expect(Quantity.duration(3725) == "1 h 2 min")
        #expect(Quantity.interval(0) == "no automatic checkpoints")
        #expect(Quantity.interval(2.5) == "every 2.5 s")
    }

    @Test("A status with a process and a checkpoint")
    func status() {
        var reply = CommandReply(command: "status")
        reply.coordinator = CoordinatorReply(address: "unix:/x", pid: 5, uptime_s: 65, interval_s: 0)
        var process = ProcessReply(pid: 10, own_pid: 2, name: "counter", host: "h", computation: "ab")
        (process.state, process.threads, process.resident_bytes) = ("sleeping", 3, 1_500_000)
        reply.processes = [process]
        let last = CheckpointReply(
            generation: 3, path: "/i/gen-000003", ok: true, started_at: "2026", pause_ms: 1.5, duration_ms: 30,
            bytes_written: 2000, processes: 1, snapshot: "stop")
        reply.last_checkpoint = last
        reply.computations = [
            ComputationReply(
                id: "ab", name: "counter", checkpoint_directory: "/i", state: "running", interval_s: 0, pids: [10],
                last_checkpoint: last)
        ]
        #expect(
            reply.text() == """
                Coordinator  unix:/x (process 5, up 1 min 5 s)
                Interval     no automatic checkpoints
                Computation  ab (counter), running
                  images in  /i
                  last       generation 3 in /i/gen-000003: 1 process, 2.0 kB, paused 1.5 ms, took 30.0 ms
                PID  OWN PID  THREADS  RESIDENT  STATE     NAME
                 10        2        3    1.5 MB  sleeping  counter
                """)
    }
}
