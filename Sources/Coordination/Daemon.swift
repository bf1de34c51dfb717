import CSwiftCP
import Glibc
import SystemCalls

/// A coordinator in the background: the parent returns when the child listens, or with the child's reason why not.
public enum Daemon {
    /// Seconds that the child has for its start.
    static let startLimit = 10.0

    /// Runs `start` and then the server in a child of its own session. For a process with one thread.
    ///
    /// - Parameter gate: a pipe; nothing is started before there is a byte in it, nor at all when it is closed first.
    /// - Returns: in the parent nil once the child listens; in the child the exit status at its end.
    public static func run(
        gate: Int32?, _ start: () throws(CoordinatorError) -> Server
    ) throws(CoordinatorError) -> Int32? {
        let pipe = try makePipe()
        let child = scp_fork()
        guard child >= 0 else { throw CoordinatorError(SystemError(-child, "start", "a process")) }
        if child == 0 { return serve(pipe.writing.raw, gate, start) }
        if isWanted(gate) { try waitUntilReady(child, pipe) }
        return nil
    }

    /// Both processes look, and the byte stays where it is.
    private static func isWanted(_ gate: Int32?) -> Bool {
        guard let gate else { return true }
        while true {
            let events = scp_poll(gate, Int32(POLLIN), -1)
            if events != -EINTR { return events > 0 && events & Int32(POLLIN) != 0 }
        }
    }

    private static func makePipe() throws(CoordinatorError) -> DescriptorPair {
        do throws(SystemError) { return try OwnedDescriptor.pipe() } catch { throw CoordinatorError(error) }
    }

    /// The child. Descriptors that it inherited by chance would keep other people's pipes and locks alive.
    private static func serve(
        _ ready: Int32, _ gate: Int32?, _ start: () throws(CoordinatorError) -> Server
    ) -> Int32 {
        _ = scp_close_from(3, ready)
        guard isWanted(gate) else { return 0 }
        do throws(CoordinatorError) {
            let server = try start()
            _ = scp_detach()
            report(ready, "+")
            return try server.run()
        } catch {
            report(ready, error.description)
            return 1
        }
    }

    private static func report(_ ready: Int32, _ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(ready, bytes, bytes.count)
        Glibc.close(ready)
    }

    private static func waitUntilReady(_ child: Int32, _ pipe: consuming DescriptorPair) throws(CoordinatorError) {
        let reading = pipe.reading
        do throws(SystemError) { try pipe.writing.close() } catch { throw CoordinatorError(error) }
        let deadline = Instant.now.advanced(seconds: startLimit)
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while (try? reading.wait(until: deadline)) == true {
            let count = read(reading.raw, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            text += chunk[..<count]
            if text == [UInt8(ascii: "+")] { return }
        }
        if text.isEmpty {
            kill(child, SIGKILL)
            throw CoordinatorError("the coordinator in the background did not come up within \(Int(startLimit)) s")
        }
        throw CoordinatorError(String(decoding: text, as: UTF8.self))
    }
}
