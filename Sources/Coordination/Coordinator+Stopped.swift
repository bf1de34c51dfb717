import CSwiftCP
import Glibc
import SystemCalls
import Wire

// Processes that job control has stopped take part in a checkpoint and stay as they are: a tracer leads their threads, from
// before the first order until the checkpoint has ended.

extension Coordinator {
    /// Who is stopped hears nothing without a tracer.
    mutating func checkedForStopped(_ id: String, _ pids: [Int32], _ debugger: String?) {
        guard let computation = computations[id], let checkpoint = computation.checkpoint else { return }
        guard checkpoint.phase == .preparing else { return pids.isEmpty ? () : stopped(id, pids) }
        guard !pids.isEmpty else { return prepare(id) }
        // Where nothing runs nothing has changed since.
        let changes = debugger == nil && computation.workers.values.contains { !pids.contains($0.pid) }
        if !changes, checkpoint.wants.allSatisfy({ $0 == .interval }) { return skip(id, checkpoint) }
        if let debugger {
            let labels = computation.workersInOrder.filter { pids.contains($0.pid) }.prefix(4).map(\.label)
            return failCheckpoint(
                id, EAGAIN,
                "\(labels.joined(separator: ", ")) is stopped by \(debugger), a debugger or the like; detach it first")
        }
        beginDisk(.lead(id, pids), for: id)
    }

    // MARK: Stopped meanwhile

    /// A stage has begun.
    mutating func expectStops(_ id: String) {
        computations[id]?.checkpoint?.stopPace = RunningCheckpoint.firstStopPace
        let waiting = computations[id]?.checkpoint?.waiting ?? 0
        computations[id]?.checkpoint?.waitingBefore = waiting
        computations[id]?.checkpoint?.nextStopLook = now.monotonic.advanced(seconds: RunningCheckpoint.firstStopPace)
    }

    /// Somebody may have been stopped after the look at the beginning: he will not reach the stage.
    mutating func lookForStops(_ id: String) {
        computations[id]?.checkpoint?.nextStopLook = nil
        guard let checkpoint = computations[id]?.checkpoint, case .stage(let stage) = checkpoint.phase else { return }
        guard checkpoint.waiting == checkpoint.waitingBefore else { return expectStops(id) }
        let late = checkpoint.members.values.filter { $0.reached < stage }.map(\.worker.pid)
        let pids = late.filter { $0 > 0 && checkpoint.stoppedBy[$0] == nil }
        guard !pids.isEmpty else { return }  // until another stage begins, or somebody joins
        let pace = min(checkpoint.stopPace * 2, 2)
        computations[id]?.checkpoint?.stopPace = pace
        computations[id]?.checkpoint?.nextStopLook = now.monotonic.advanced(seconds: pace)
        beginDisk(.findStopped(pids), for: id)
    }

    private mutating func stopped(_ id: String, _ pids: [Int32]) {
        guard let checkpoint = computations[id]?.checkpoint, case .stage = checkpoint.phase else { return }
        let reason = "process \(pids[0]) was stopped during the checkpoint"
        if checkpoint.staysStopped { pause(id, reason) } else { startAgain(id, reason) }
    }

    // MARK: Leading

    mutating func led(_ id: String, _ signals: [Int32: UInt32]) {
        guard computations[id]?.checkpoint?.phase == .preparing else { return effects.append(.letGo(id)) }
        computations[id]?.checkpoint?.stoppedBy = signals
        prepare(id)
    }

    mutating func notLed(_ id: String, _ code: Int32) {
        guard let computation = computations[id], computation.checkpoint?.phase == .preparing else { return }
        if code == EAGAIN { return pause(id, "a stopped process was continued") }
        let reason =
            code == EPERM
            ? "this system does not let another process lead its threads (ptrace is restricted)"
            : "its threads could not be led: \(SystemError.reason(code))"
        failCheckpoint(
            id, EAGAIN,
            "a process of \(computation.name) is stopped (by Ctrl+Z or SIGSTOP), and \(reason);"
                + " continue it first (fg, kill -CONT)")
    }

    /// The tracer has gone: a process was continued, and what was to be saved as stopped runs.
    mutating func continued(_ id: String) {
        guard let checkpoint = computations[id]?.checkpoint, !checkpoint.stoppedBy.isEmpty else { return }
        switch checkpoint.phase {
        case .stage(.written), .committing, .pausing, .gathering, .preparing: break
        case .stage, .numbering: startAgain(id, "a stopped process was continued during the checkpoint")
        }
    }

    /// The checkpoint has ended, or this attempt.
    mutating func letGo(_ id: String) {
        guard computations[id]?.checkpoint?.stoppedBy.isEmpty == false else { return }
        computations[id]?.checkpoint?.stoppedBy = [:]
        effects.append(.letGo(id))
    }

    /// Processes that were stopped before they could say HELLO are led too, in another attempt, and say it then. True: that
    /// begins.
    mutating func leadNewborn(_ id: String, _ strays: [Stray]) -> Bool {
        guard let led = computations[id]?.checkpoint?.stoppedBy else { return false }
        let newborn = strays.filter { $0.obstacle == .stopped && led[$0.pid] == nil }.map(\.pid)
        guard !newborn.isEmpty else { return false }
        computations[id]?.stoppedNewborn = newborn
        pause(id, "process \(newborn[0]) was stopped before it could connect")
        return true
    }
}
