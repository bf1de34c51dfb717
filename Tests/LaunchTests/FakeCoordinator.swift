import Foundation
import Synchronization
import SystemCalls
import Wire

/// A coordinator that says what a test wants, on a thread of its own. It answers each message with `answer`; a nil answer
/// leaves the connection open and silent.
final class FakeCoordinator: Sendable {
    let address: String
    private let received = Mutex<[Message]>([])
    private let stopping = Mutex(false)

    init(_ scratch: Scratch, answer: @escaping @Sendable (Message) -> Message?) throws {
        let path = scratch.path + "/coordinator"
        address = "unix:" + path
        let listener = try Sockets.bindUnix(path)
        try listener.listen()
        let raw = listener.release()
        Thread.detachNewThread { [self] in serve(OwnedDescriptor(owning: raw), answer) }
    }

    func stop() { stopping.withLock { $0 = true } }

    var messages: [Message] { received.withLock { $0 } }

    /// The first launch announcement.
    var launch: Launch? {
        messages.lazy.compactMap { if case .launch(let launch) = $0 { launch } else { nil } }.first
    }

    private func serve(_ listener: borrowing OwnedDescriptor, _ answer: @escaping @Sendable (Message) -> Message?) {
        while !stopping.withLock({ $0 }) {
            guard (try? listener.wait(until: Instant.now.advanced(seconds: 0.05))) == true,
                let connection = try? listener.accept()
            else { continue }
            let raw = connection.release()
            Thread.detachNewThread { [self] in talk(OwnedDescriptor(owning: raw), answer) }
        }
    }

    private func talk(_ connection: borrowing OwnedDescriptor, _ answer: @Sendable (Message) -> Message?) {
        var frames = FrameBuffer()
        var chunk = [UInt8](repeating: 0, count: 65536)
        while !stopping.withLock({ $0 }) {
            guard (try? connection.wait(until: Instant.now.advanced(seconds: 0.05))) == true else { continue }
            let count = read(connection.raw, &chunk, chunk.count)
            if count <= 0 { return }
            frames.append(chunk[..<count])
            while let message = try? frames.next() {
                received.withLock { $0.append(message) }
                guard let reply = answer(message), let bytes = try? reply.encoded() else { continue }
                _ = bytes.withUnsafeBytes { try? connection.send($0) }
            }
        }
    }
}

/// `swiftcp_launch` as built beside the tests, run with a library folder whose shim is none (the dynamic linker says so and
/// goes on): what is tested here is the launcher alone.
final class LaunchRun {
    let process = Process()
    private let output = Pipe()
    private let errors: String

    init(
        _ scratch: Scratch, _ arguments: [String], environment: [String: String] = [:], through wrapper: [String] = []
    ) throws {
        try Files.makeDirectories(scratch.path + "/lib")
        _ = try scratch.file("lib/libswiftcp.so", text: "")
        errors = scratch.path + "/stderr-\(UUID().uuidString.prefix(6))"
        try Files.write([], to: errors)
        let folder = Path.parent(try Processes.executable())
        // Inside a test bundle the products lie beside it.
        let command = wrapper + [folder + "/swiftcp_launch"] + arguments
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.currentDirectoryURL = URL(fileURLWithPath: scratch.path)
        var variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("SWIFTCP") }
        variables["SWIFTCP_LIBDIR"] = scratch.path + "/lib"
        process.environment = variables.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
    }

    /// Waits for the end, at most 20 s; then kills it and returns -1.
    func status() -> Int32 {
        let deadline = Date().addingTimeInterval(20)
        while process.isRunning, Date() < deadline { usleep(2000) }
        guard !process.isRunning else {
            kill(process.processIdentifier, SIGKILL)
            return -1
        }
        return process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    }

    func text() -> String { String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) }

    /// What it wrote to stderr, without the dynamic linker's words about the empty library.
    var messages: [String] {
        let text = (try? Files.read(errors)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return text.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("ERROR: ld.so") }
    }
}

/// Polls until the condition holds, at most 10 s.
func eventually(_ condition: () -> Bool) -> Bool {
    let deadline = Date().addingTimeInterval(10)
    while !condition() {
        if Date() > deadline { return false }
        usleep(2000)
    }
    return true
}
