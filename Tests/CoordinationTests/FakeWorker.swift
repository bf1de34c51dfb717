import Glibc
import SystemCalls
import Testing
import Wire

@testable import Coordination

/// A coordinator with a real socket, on a thread of its own that ends with the test process, if not before.
///
/// The workers of a test are this process: a coordinator that is told to end workers would kill it after its limit, so
/// tests ask for that only when no worker is there.
final class RunningServer {
    /// What the thread has. It is the only one that touches the server.
    fileprivate final class Job: @unchecked Sendable {
        let server: Server
        let ended: OwnedDescriptor
        init(_ server: Server, _ ended: consuming OwnedDescriptor) {
            self.server = server
            self.ended = ended
        }
    }

    let scratch = Scratch()
    let address: Address
    private let ended: OwnedDescriptor

    init(_ change: (inout ServerOptions) -> Void = { _ in }) throws {
        address = try Address("unix:\(scratch.path)/socket")
        var configuration = Configuration()
        configuration.address = address.description
        configuration.pid = getpid()
        configuration.user = Processes.user
        configuration.stageLimit = 20
        var options = ServerOptions(configuration, addresses: [address])
        change(&options)
        let pipe = try OwnedDescriptor.pipe()
        ended = pipe.reading
        let job = Unmanaged.passRetained(Job(try Server(options), pipe.writing))
        var thread = pthread_t()
        let failure = pthread_create(&thread, nil, serve, job.toOpaque())
        if failure != 0 { throw SystemError(failure, "start", "a thread") }
        pthread_detach(thread)
    }

    /// Waits until it has ended by itself; nil when it has not within 10 s.
    func exitStatus() throws -> UInt8? {
        guard try ended.wait(until: Instant.now.advanced(seconds: 10)) else { return nil }
        return try ended.readToEnd().first
    }

    var images: String { scratch.path + "/images" }

    func ask(_ request: Request) throws -> String {
        var connection = try Connection(address)
        return try connection.ask(request, limit: 10)
    }
}

/// Formed outside any actor, as a C function must be.
private func serve(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let pointer else { return nil }
    let job = Unmanaged<RunningServer.Job>.fromOpaque(pointer).takeRetainedValue()
    let status = (try? job.server.run()) ?? 255
    try? job.ended.write([UInt8(truncatingIfNeeded: status)])
    return nil
}

/// What the shim does, without a program: says HELLO and follows checkpoints through their stages, writing a few bytes.
struct FakeWorker: ~Copyable {
    private var connection: Connection
    let ownPid: UInt32
    private(set) var lastGeneration: UInt32 = 0
    private(set) var flags: UInt32 = 0

    init(_ server: RunningServer, ownPid: UInt32, computation: String) throws {
        connection = try Self.greet(server, ownPid, computation)
        self.ownPid = ownPid
    }

    private static func greet(_ server: RunningServer, _ ownPid: UInt32, _ computation: String) throws -> Connection {
        var connection = try Connection(server.address)
        try connection.send(
            .hello(
                Hello(ownPid: ownPid, name: "fake", computation: computation, checkpointDirectory: server.images)))
        let welcome = try connection.receive()
        #expect(welcome == .welcome(Welcome()))
        return connection
    }

    mutating func receive() throws -> Message { try connection.receive(limit: 10) }
    mutating func send(_ message: Message) throws { try connection.send(message) }

    /// One checkpoint, up to the stage after which it `fails`. Returns the last message of the coordinator.
    mutating func checkpoint(failingAfter last: Stage = .written) throws -> Message {
        guard case .checkpoint(let order) = try receive() else { throw WireError(.malformed, "no CHECKPOINT") }
        lastGeneration = order.generation
        flags = order.flags
        for stage in [Stage.quiesced, .snapshotted, .written] {
            if stage == .written { try Files.write(Array("image of \(ownPid)".utf8), to: order.path) }
            try send(
                .stage(
                    StageReport(
                        stage: stage, generation: order.generation, pause: 1_000_000, bytesWritten: 12, threads: 1)))
            let answer = try receive()
            guard case .go(let go) = answer, go.generation == order.generation else { return answer }
            #expect(go.stage == (stage == .written ? .committed : stage) && go.processes == 1)
            if stage == last, stage != .written {
                try send(.failed(Text(error: EIO, generation: order.generation, text: "made to fail")))
                return try receive()
            }
        }
        return .go(StageGo(stage: .committed, generation: order.generation))
    }
}
