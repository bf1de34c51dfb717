import SystemCalls
import Wire

// The start of the pause. Processes that are checkpointed together save what they can while they run, each in its own time;
// the first to be prepared must not stand still until the last one is. So all of them run until everybody is prepared, and are
// told to stop at once.
//
// Who joins before that is told with the others, but not waited for: a program that makes processes all the time would never
// be stopped. Who joins later stops at once.

extension Coordinator {
    /// Lets as many prepare at once as are good for the processors and the disk.
    mutating func orderNext(_ id: String) {
        while let preparing = computations[id]?.checkpoint?.preparing.count, preparing < configuration.preparers,
            let next = computations[id]?.checkpoint?.unordered.popLast()
        {
            guard let worker = computations[id]?.workers[next] else { continue }
            computations[id]?.checkpoint?.preparing.insert(next)
            order(id, worker)
            expectStops(id)
        }
    }

    /// A member is prepared to be stopped (or stands still already, or has gone).
    mutating func prepared(_ id: String, _ connection: ConnectionID) {
        guard computations[id]?.checkpoint?.hasStarted == false else { return }
        computations[id]?.checkpoint?.preparing.remove(connection)
        orderNext(id)
        guard computations[id]?.checkpoint?.preparing.isEmpty == true else { return }
        computations[id]?.checkpoint?.hasStarted = true
        let deadline = stageDeadline(.quiesced)
        computations[id]?.checkpoint?.deadline = deadline
        guard let checkpoint = computations[id]?.checkpoint else { return }
        let go = StageGo(
            stage: .running, generation: checkpoint.generation, processes: UInt32(checkpoint.members.count))
        let waiting = checkpoint.members.filter { $0.value.waitsForStart && $0.value.reached < .quiesced }
        for connection in waiting.keys.sorted() { effects.append(.send(connection, .go(go))) }
    }

    /// Whether this member holds up a stage. Who only waits for others to be prepared does not.
    func isLate(_ member: RunningCheckpoint.Member, _ stage: Stage, _ checkpoint: RunningCheckpoint) -> Bool {
        guard checkpoint.hasStarted else { return checkpoint.preparing.contains(member.worker.connection) }
        return member.reached < stage
    }
}
