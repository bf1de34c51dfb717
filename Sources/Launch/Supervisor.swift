import CSwiftCP
import Glibc
import Options
import SystemCalls
import Wire

/// Parent of a program under `--auto`: asks for a checkpoint when a signal means so, follows the program's stops at a
/// terminal, and tells how it ended.
///
/// The program stands in the same process group, so what a terminal sends (Ctrl+C, Ctrl+Z, window size) reaches both; only
/// what was sent to this process alone is passed on. The shim keeps the program from acting on a signal that means
/// "checkpoint, then end", so it does not matter which of the two gets it, or whether both do.
final class Supervisor {
    /// Seconds for a checkpoint; the coordinator's own limits are shorter.
    static let checkpointLimit = 600.0
    /// Seconds for the program to be gone after the checkpoint it is ended by.
    static let endLimit = 10.0
    /// The same after a refusal which may only mean that another request was quicker.
    static let doubtLimit = 2.0

    let child: Int32
    let launch: Launch
    let access: CoordinatorAccess
    let report: Reporter
    /// The child is `swiftcp_restart`.
    let isRestarted: Bool
    private let stopSignals: [Int32]
    private let signals: Int32

    private var request: Connection?
    private var signal: scp_signal?
    private(set) var deadline: Instant?
    private var refusal: String?
    private var verdict = Verdict(end: .exited(0))

    // Supervisor+Watch.swift
    var watch: Connection?
    var coordinatorSeen = false
    var nextLook = Instant.now

    /// - Parameters:
    ///   - signals: a signalfd for `watched(_:)`; borrowed.
    ///   - stopSignals: those that mean checkpoint, then end.
    ///   - resumed: the generation that the program goes on from, 0 = none.
    init(
        child: Int32, launch: Launch, access: CoordinatorAccess, report: Reporter, stopSignals: [Int32],
        resumed: Int, signals: Int32
    ) {
        (self.child, self.launch, self.access, self.report) = (child, launch, access, report)
        (self.stopSignals, self.signals) = (stopSignals, signals)
        isRestarted = resumed > 0
        verdict.before = resumed
    }

    /// What is passed on to the program when it was sent to this process alone.
    private static let passedOn = [SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU]

    /// All signals the signalfd has to be made for, as a mask (bit n-1 = n).
    static func watched(_ stopSignals: [Int32]) -> UInt64 {
        (stopSignals + passedOn + [SIGCHLD, SIGCONT]).reduce(0) { $0 | 1 << UInt64($1 - 1) }
    }

    /// Returns when the program has ended and was waited for.
    func run() throws(SystemError) -> Verdict {
        while true {
            if let end = try programEnd() {
                verdict.end = end
                return verdict
            }
            lookAfterCoordinator()
            let next = [deadline, watch == nil ? nextLook : nil].compactMap(\.self).min()
            let left = next.map { max(0, $0.seconds(since: .now)) } ?? 3600
            var descriptors: [Int32] = [signals, request?.raw ?? -1, watch?.raw ?? -1, -1]
            let ready = try check(
                scp_wait_any(&descriptors, Int32(left * 1000) + 1), "wait for", "signals and the coordinator")
            if ready & 1 != 0 { try takeSignals() }
            if ready & 2 != 0 { takeReply() }
            if ready & 4 != 0 { readWatch() }
            if let deadline, Instant.now >= deadline { timeIsUp() }
        }
    }

    /// nil while it lives. A stop of the program is a stop of this process: the shell sees the job as stopped.
    private func programEnd() throws(SystemError) -> ProgramEnd? {
        while true {
            var state = scp_child()
            try check(scp_child_state(child, &state), "wait for", launch.name)
            switch state.event {
            case Int32(SCP_CHILD_EXITED.rawValue): return .exited(state.value)
            case Int32(SCP_CHILD_SIGNALED.rawValue): return .killed(signal: state.value)
            case Int32(SCP_CHILD_STOPPED.rawValue):
                kill(getpid(), SIGSTOP)
                continueProgram()
            case Int32(SCP_CHILD_CONTINUED.rawValue): break
            default: return nil
            }
        }
    }

    /// The shell continues the whole group; but SIGCONT may have been sent to this process alone.
    private func continueProgram() {
        let status = (try? Files.read("/proc/\(child)/stat")) ?? []
        let state = String(decoding: status, as: UTF8.self).split(separator: ")").last?.split(separator: " ").first
        if state == "T" { kill(child, SIGCONT) }
    }
}

// Signals.
extension Supervisor {
    private func takeSignals() throws(SystemError) {
        while true {
            var signal = scp_signal()
            try check(scp_take_signal(signals, &signal), "read", "the signalfd")
            switch signal.number {
            case 0: return
            case SIGCHLD: break
            case SIGCONT: continueProgram()
            case let number where stopSignals.contains(number): stop(signal)
            case let number: if signal.from_kernel == 0 { kill(child, number) }
            }
        }
    }

    /// A signal that means checkpoint, then end. Further ones while that goes on change nothing: nothing is killed
    /// half-way.
    private func stop(_ signal: scp_signal) {
        let text = signalName(signal.number)
        guard deadline == nil else { return report.note("\(text): already checkpointing") }
        self.signal = signal
        verdict.before = newest
        report.note("\(text): checkpointing \(launch.name), then ending it")
        do throws(WireError) {
            var connection = try Connection(access.address)
            try connection.send(.request(Request(.kcheckpoint, computation: launch.computation)))
            request = consume connection
            deadline = Instant.now.advanced(seconds: Self.checkpointLimit)
        } catch { failed(error.text) }
    }

    var newest: Int {
        ComputationFolder.find(in: launch.checkpointDirectory, computation: launch.computation)?.newestComplete ?? 0
    }
}

// The coordinator's answer.
extension Supervisor {
    private func takeReply() {
        let answer: String
        do throws(WireError) {
            guard case .reply(let text)? = try request?.receive() else {
                return refused("the coordinator's answer was no reply")
            }
            answer = text
        } catch { return refused(error.text) }
        guard ReplyText.string("status", in: answer) == "ok" else {
            return refused(ReplyText.string("error", in: answer) ?? "the coordinator gave no reason")
        }
        request = nil
        verdict.confirmed = true
        deadline = Instant.now.advanced(seconds: Self.endLimit)
    }

    /// When the program has got the signal too, its own question may have been answered first; then it is about to end, and
    /// our request came too late for it.
    private func refused(_ reason: String) {
        request = nil
        guard newest > verdict.before else { return failed(reason) }
        refusal = reason
        deadline = Instant.now.advanced(seconds: Self.doubtLimit)
    }

    private func timeIsUp() {
        if let refusal { return failed(refusal) }
        guard verdict.confirmed else { return failed("there was no answer within \(Int(Self.checkpointLimit)) s") }
        report.warning("\(launch.name) did not end after its checkpoint; killing it")
        kill(child, SIGKILL)
        deadline = Instant.now.advanced(seconds: Self.endLimit)
    }

    /// The program gets the signal after all. From a terminal it has it already, and the shim lets it through when its own
    /// question is refused too.
    private func failed(_ reason: String) {
        request = nil
        (deadline, refusal) = (nil, nil)
        guard let signal else { return }
        report.error("cannot checkpoint \(launch.name): \(reason); it receives \(signalName(signal.number)) instead")
        if signal.from_kernel == 0 { kill(child, signal.number) }
    }
}
