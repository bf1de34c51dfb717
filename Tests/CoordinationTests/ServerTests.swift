import CSwiftCP
import FoundationEssentials
import Glibc
import ImageFormat
import SystemCalls
import Testing
import Wire

@testable import Coordination

@Suite("The event loop over a real socket", .timeLimit(.minutes(1)))
struct ServerTests {
    private func decode(_ text: String) throws -> CommandReply {
        try JSONDecoder().decode(CommandReply.self, from: Data(text.utf8))
    }

    /// What comes until the other end closes, which it has to within 10 s.
    private func readToEnd(_ descriptor: borrowing OwnedDescriptor) throws -> [UInt8] {
        let deadline = Instant.now.advanced(seconds: 10)
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while try descriptor.wait(until: deadline) {
            let count = read(descriptor.raw, &chunk, chunk.count)
            if count <= 0 { return all }
            all += chunk[..<count]
        }
        throw WireError(.timeLimit, "the connection is still open")
    }

    @Test("A checkpoint of two workers from the request to the durable generation")
    func checkpoint() throws {
        let server = try RunningServer()
        var one = try FakeWorker(server, ownPid: 501, computation: "abc")
        var two = try FakeWorker(server, ownPid: 502, computation: "abc")
        var command = try Connection(server.address)
        try command.send(.request(Request(.checkpoint)))
        // Both on this thread: the barrier must let each report before it waits for the other.
        let orders = try [one.receive(), two.receive()]
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            for (index, message) in orders.enumerated() {
                guard case .checkpoint(let order) = message else {
                    Issue.record("no CHECKPOINT")
                    return
                }
                if stage == .written { try Files.write([1, 2, 3], to: order.path) }
                let report = Message.stage(StageReport(stage: stage, generation: 1, pause: 3_000_000, bytesWritten: 3))
                if index == 0 { try one.send(report) } else { try two.send(report) }
            }
            if stage == .surveyed {
                #expect(try one.receive() == .assignment(Assignment(generation: 1, entries: [])))
                #expect(try two.receive() == .assignment(Assignment(generation: 1, entries: [])))
            }
            let passed: Stage = stage == .written ? .committed : stage
            let expected = Message.go(StageGo(stage: passed, generation: 1, processes: 2))
            #expect(try one.receive() == expected)
            #expect(try two.receive() == expected)
        }
        guard case .reply(let text) = try command.receive(limit: 10) else {
            Issue.record("no REPLY")
            return
        }
        let reply = try decode(text)
        #expect(reply.checkpoint?.ok == true)
        #expect(reply.checkpoint?.pause_ms == 3)
        let path = try #require(reply.checkpoint?.path)
        #expect(path == server.images + "/ckpt_fake_abc/gen-000001")
        let manifest = try Manifest.read(path + "/manifest.json")
        #expect(manifest.processes.map(\.pid) == [501, 502])
        #expect(try Files.readLink(server.images + "/ckpt_fake_abc/latest") == "gen-000001")
        #expect(try decode(server.ask(Request(.status))).processes?.map(\.own_pid) == [501, 502])
    }

    @Test("A worker that fails half-way: the reason in the reply, nothing on disk, the next one works")
    func failure() throws {
        let server = try RunningServer()
        var worker = try FakeWorker(server, ownPid: 501, computation: "abc")
        var command = try Connection(server.address)
        try command.send(.request(Request(.checkpoint)))
        let answer = try worker.checkpoint(failingAfter: .snapshotted)
        guard case .abort = answer, case .reply(let text) = try command.receive(limit: 10) else {
            Issue.record("no ABORT or no REPLY")
            return
        }
        #expect(try decode(text).error?.contains("made to fail") == true)
        #expect(try Files.list(server.images + "/ckpt_fake_abc") == [ComputationSettings.fileName])
        try command.send(.request(Request(.checkpoint)))
        _ = try worker.checkpoint()
        guard case .reply(let second) = try command.receive(limit: 10) else {
            Issue.record("no REPLY")
            return
        }
        #expect(try decode(second).checkpoint?.ok == true)
    }

    @Test("Twenty generations, two are kept")
    func twenty() throws {
        let server = try RunningServer()
        var worker = try FakeWorker(server, ownPid: 501, computation: "abc")
        var command = try Connection(server.address)
        for expected in 1...20 as ClosedRange<UInt32> {
            try command.send(.request(Request(.checkpoint)))
            _ = try worker.checkpoint()
            #expect(worker.lastGeneration == expected)
            _ = try command.receive(limit: 10)
        }
        let left = try Files.list(server.images + "/ckpt_fake_abc").filter { !$0.hasPrefix(".") }
        #expect(left == ["gen-000019", "gen-000020", "latest"])
    }

    @Test("The image folder cannot be written: one sentence, exit by nobody")
    func unwritable() throws {
        let server = try RunningServer()
        try Files.write([1], to: server.images)
        let worker = try FakeWorker(server, ownPid: 501, computation: "abc")
        let reply = try decode(server.ask(Request(.checkpoint)))
        #expect(reply.error?.contains(server.images) == true)
        #expect(try decode(server.ask(Request(.status))).processes?.count == 1)
        _ = consume worker
    }

    @Test("Garbage in, connection closed; others go on", arguments: [0, 1, 2, 3])
    func garbage(kind: Int) throws {
        let server = try RunningServer()
        let worker = try FakeWorker(server, ownPid: 501, computation: "abc")
        guard case .unix(let path) = server.address else { return }
        let hostile = try Sockets.connectUnix(path)
        let version = UInt8(SCP_PROTOCOL_VERSION)
        let frames: [[UInt8]] = [
            [UInt8](repeating: 0xff, count: 100),
            [8, 0, 0, 0, version, 0, 99, 0],  // an unknown type
            [0, 0, 0, 64, version, 0, 1, 0],  // a gigabyte is announced
            [12, 0, 0, 0, version, 0, 18, 0, 1, 0, 0, 0],  // a request of 4 bytes
        ]
        try hostile.write(frames[kind])
        // The coordinator closes: the end of the stream is all that comes.
        #expect(try readToEnd(hostile).isEmpty)
        #expect(try decode(server.ask(Request(.status))).processes?.count == 1)
        _ = consume worker
    }

    @Test("A worker of another version is refused with both versions named")
    func otherVersion() throws {
        let server = try RunningServer()
        guard case .unix(let path) = server.address else { return }
        let worker = try Sockets.connectUnix(path)
        var hello = try Message.hello(
            Hello(ownPid: 1, name: "x", computation: "abc", checkpointDirectory: "/tmp")
        ).encoded()
        hello[4] = 9
        try worker.write(hello)
        var frames = FrameBuffer()
        frames.append(try readToEnd(worker))
        guard case .welcome(let welcome)? = try frames.next() else {
            Issue.record("no WELCOME")
            return
        }
        #expect(welcome.error == UInt32(EPROTO))
        #expect(welcome.text.contains("version 9") && welcome.text.contains("\(SCP_PROTOCOL_VERSION) is spoken"))
    }

    @Test("Messages cut into single bytes arrive whole")
    func trickle() throws {
        let server = try RunningServer()
        guard case .unix(let path) = server.address else { return }
        let slow = try Sockets.connectUnix(path)
        for byte in try Message.request(Request(.status)).encoded() { try slow.write([byte]) }
        #expect(try slow.wait(until: Instant.now.advanced(seconds: 10)))
        var frames = FrameBuffer()
        var chunk = [UInt8](repeating: 0, count: 65536)
        let count = read(slow.raw, &chunk, chunk.count)
        frames.append(chunk.prefix(max(count, 0)))
        guard case .reply? = try frames.next() else {
            Issue.record("no REPLY")
            return
        }
    }

    @Test("A second coordinator at the address is refused; what a dead one left is replaced")
    func addressInUse() throws {
        let server = try RunningServer()
        var options = ServerOptions(Configuration(), addresses: [server.address])
        #expect {
            _ = try Server(options)
        } throws: { error in
            "\(error)".contains("another coordinator (process \(getpid())) is there")
        }
        // A socket nobody listens at.
        let stale = try Address("unix:\(server.scratch.path)/stale")
        guard case .unix(let path) = stale else { return }
        try Sockets.bindUnix(path).close()
        options.addresses = [stale]
        _ = try Server(options)
        // A file that is no socket is nobody's to remove.
        let file = try Address("unix:\(server.scratch.path)/file")
        try Files.write([1], to: server.scratch.path + "/file")
        options.addresses = [file]
        #expect(throws: CoordinatorError.self) { _ = try Server(options) }
        #expect(try Files.read(server.scratch.path + "/file") == [1])
    }

    @Test("quit: the workers get KILL, the reply comes when they are gone, socket and status file are removed")
    func quit() throws {
        let server = try RunningServer { $0.statusFile = $0.addresses[0].description.dropFirst(5) + ".json" }
        guard case .unix(let path) = server.address else { return }
        let reply = try decode(server.ask(Request(.quit)))
        #expect(reply.status == "ok")
        #expect(try server.exitStatus() == 0)
        #expect(!Files.exists(path))
        #expect(!Files.exists(path + ".lock"))
        #expect(!Files.exists(path + ".json"))
    }

    @Test("The status file follows what happens")
    func statusFile() throws {
        let server = try RunningServer { $0.statusFile = $0.addresses[0].description.dropFirst(5) + ".json" }
        let worker = try FakeWorker(server, ownPid: 501, computation: "abc")
        guard case .unix(let path) = server.address else { return }
        let deadline = Instant.now.advanced(seconds: 10)
        var pids: [UInt32]?
        // It is written by rename at most twice a second: look until it has come, within a limit.
        while pids != [501], Instant.now < deadline {
            pids = try? decode(String(decoding: Files.read(path + ".json"), as: UTF8.self)).processes?.map(\.own_pid)
            _ = scp_poll(-1, 0, 10)
        }
        #expect(pids == [501])
        _ = consume worker
    }

    @Test("A thousand connections that say nothing do not keep a request waiting")
    func manyConnections() throws {
        let server = try RunningServer()
        _ = scp_raise_descriptor_limit()
        guard case .unix(let path) = server.address else { return }
        var silent: [Int32] = []
        defer { for raw in silent { close(raw) } }
        for _ in 0..<1000 { silent.append(try Sockets.connectUnix(path).release()) }
        #expect(try decode(server.ask(Request(.status))).status == "ok")
    }
}
