import Glibc
import Options
import SystemCalls
import Wire

// A coordinator that dies takes nothing with it but the interval's checkpoints and the way to ask for one. So the
// supervisor keeps a connection to it, and starts another one when it has gone; the program connects to that by itself.

extension Supervisor {
    /// Seconds between tries to reach the coordinator.
    private static let lookInterval = 1.0

    /// Looks after the connection when its time has come. Nothing here ends the supervision.
    func lookAfterCoordinator() {
        guard watch == nil, Instant.now >= nextLook else { return }
        nextLook = Instant.now.advanced(seconds: Self.lookInterval)
        do throws(WireError) {
            var connection = try Connection(access.address, limit: 1)
            // A client that says nothing would be sent away.
            try connection.send(.request(Request(.status, computation: launch.computation)), limit: 1)
            watch = consume connection
            coordinatorSeen = true
        } catch {
            // Before it was seen, swiftcp_restart is about to start it.
            if error.kind == .noCoordinator, coordinatorSeen, deadline == nil { replaceCoordinator() }
        }
    }

    /// Something has come over the connection: an answer that nobody waits for, or its end.
    func readWatch() {
        do throws(WireError) { _ = try watch?.receive(limit: 1) } catch {
            watch = nil
            // It also ends with its last process, which this one will hear of in a moment.
            nextLook = Instant.now.advanced(seconds: Self.lookInterval)
        }
    }

    private func replaceCoordinator() {
        var announcement = launch
        announcement.pid = UInt32(child)
        announcement.generation = UInt32(newest)
        announcement.restart = isRestarted
        do throws(WireError) {
            _ = try access.announce(announcement)
            report.warning("the coordinator had gone; another one was started at \(access.address)")
        } catch {
            // Refused: the program itself was quicker to connect, and is known already.
            if error.kind == .refused { return }
            nextLook = Instant.now.advanced(seconds: 30)
            report.warning("\(launch.name) runs without a coordinator, so it cannot be checkpointed: \(error.text)")
        }
    }
}
