import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import Options
import SystemCalls

/// The program's parent: its status, signals, job control, and the checks that a lazy restart has left for later.
///
///     starting --RESTORED--> running --exit--> its status
///        |                     |  ^
///        |FAILED, time limit   |  | SIGCONT
///        v                     v  |
///      ended                 stopped (and this process with it)
struct Babysitter: ~Copyable {
    private let child: ProgramProcesses
    private var reaper: crestart_reaper
    private let options: RestartOptions
    private let set: RestartSet
    /// Whether the coordinator knows the program.
    private let joined: () -> Bool
    private var verifier: BlockVerifier
    private let watched: Watched
    private let jobs: JobControl
    private let deadline: Instant
    private var isRestored = false

    /// Seconds without an answer of the shim's; content read at 20 MB/s comes on top.
    private static let arrivalLimit = 90.0

    init(
        _ child: consuming ProgramProcesses, entered: Entered, options: RestartOptions, set: RestartSet,
        unverified: [[Int]], joined: @escaping () -> Bool
    ) throws(RestartError) {
        watched = try Watched.make(statuses: child.arrivals.descriptors)
        reaper = entered.reaper
        self.joined = joined
        self.options = options
        self.set = set
        verifier = BlockVerifier(set.images, blocks: unverified)
        let pids = child.pids
        jobs = JobControl(
            child: child.pid, ownSession: child.ownSession, background: options.background,
            foreground: set.images.firstIndex { $0.process.foreground != 0 && set.hasOuterTerminal($0) }.map {
                pids[$0]
            })
        deadline = Instant.now.advanced(seconds: Self.arrivalLimit + Double(set.content) / 20e6)
        self.child = child
        jobs.begin()
    }

    /// Until the program has ended, or with `--background` runs. Returns its exit status; a death by signal is died
    /// here too.
    mutating func run() throws(RestartError) -> Int32 {
        while true {
            if let end = try step() { return end }
        }
    }

    private mutating func step() throws(RestartError) -> Int32? {
        let events = try system { () throws(SystemError) in try watched.poller.wait(limit: waitingTime) }
        for event in events {
            if event.registration == 1 { forwardSignals() } else { try readReports(Int(event.registration) - 2) }
        }
        if child.arrivals.pace != nil { child.arrivals.look() }
        // Looked at every time: its end may have been read as a signal, or come before the first wait.
        if let status = try lookAtChild() { return status }
        if !isRestored, let failure = child.arrivals.failure { throw end(failure) }
        if isRestored, options.background, verifier.isDone { return leave() }
        if !isRestored, Instant.now >= deadline { throw giveUp("it did not come back to life in time") }
        if isRestored, events.isEmpty { try verifySome() }
        return nil
    }

    private mutating func verifySome() throws(RestartError) {
        do throws(ImageError) { try verifier.step() } catch {
            throw end(RestartError("\(error.description); the program was ended", status: error.exitStatus))
        }
    }

    /// Milliseconds.
    private var waitingTime: Int32 {
        if isRestored { return verifier.isDone ? -1 : 0 }
        let left = Int32(clamping: Int(max(0, deadline.seconds(since: .now) * 1000)) + 1)
        return min(left, child.arrivals.pace ?? left)
    }
}

/// What is waited for: signals (registration 1) and the status pipes (from 2 on).
private struct Watched: ~Copyable {
    let signals: OwnedDescriptor
    let poller: Poller

    /// Passed on to the program, but for SIGCHLD; job control needs the last two not to stop this process.
    private static let numbers = [
        SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH, SIGUSR1, SIGUSR2, SIGTTOU, SIGTTIN,
    ]

    static func make(statuses: [Int32]) throws(RestartError) -> Watched {
        let set = numbers.reduce(UInt64(0)) { $0 | 1 << UInt64($1 - 1) }
        let signals = try system { () throws(SystemError) in
            OwnedDescriptor(owning: try check(scp_watch_signals(set, set), "watch", "signals"))
        }
        let poller = try system { () throws(SystemError) in try Poller() }
        do throws(SystemError) {
            try poller.add(signals.raw, registration: 1)
            for (index, status) in statuses.enumerated() { try poller.add(status, registration: UInt64(index) + 2) }
        } catch { throw RestartError(error) }
        return Watched(signals: signals, poller: poller)
    }
}

// MARK: - Signals and the child's state

extension Babysitter {
    private mutating func forwardSignals() {
        var signal = scp_signal()
        while scp_take_signal(watched.signals.raw, &signal) >= 0, signal.number != 0 {
            switch signal.number {
            case SIGCHLD: break
            case SIGCONT: jobs.resume()
            case SIGTERM, SIGHUP, SIGINT, SIGQUIT:
                if !isRestored {
                    endChild()
                    jobs.end()
                    child.arrivals.endProgress()
                    crestart_die_by(signal.number)
                }
                jobs.forward(signal.number)
            default: jobs.forward(signal.number)
            }
        }
    }

    private mutating func lookAtChild() throws(RestartError) -> Int32? {
        var state = scp_child()
        let result = scp_child_state(child.pid, &state)
        if result < 0 { throw RestartError(SystemError(-result, "wait for", "the program (process \(child.pid))")) }
        switch UInt32(state.event) {
        case SCP_CHILD_EXITED.rawValue, SCP_CHILD_SIGNALED.rawValue:
            for index in set.images.indices { try readReports(index) }
            guard isRestored || (child.arrivals.haveGone && child.arrivals.failure == nil) else {
                throw end(child.arrivals.failure ?? unexplained(state))
            }
            jobs.end()
            try verifyForOthers()
            linger()
            if UInt32(state.event) == SCP_CHILD_EXITED.rawValue { return state.value }
            crestart_die_by(state.value)
        case SCP_CHILD_STOPPED.rawValue: jobs.stopped(by: state.value)
        default: break
        }
        return nil
    }

    /// Processes that live on may use memory that has not been compared yet, and nobody would do it later.
    private mutating func verifyForOthers() throws(RestartError) {
        while !verifier.isDone, child.pids.contains(where: { $0 != child.pid && kill($0, 0) == 0 }) {
            try verifySome()
        }
    }

    private func unexplained(_ state: scp_child) -> RestartError {
        let how =
            UInt32(state.event) == SCP_CHILD_EXITED.rawValue ? "with status \(state.value)" : "by signal \(state.value)"
        return RestartError("\(set.messageName(set.root)): the process ended \(how) before the program was back")
    }

    /// Daemons that the program has left behind live on.
    private mutating func linger() {
        guard reaper.pid != 0 else { return }
        let result = crestart_reaper_linger(&reaper, 2000)
        // Its end means that nobody was left.
        if result < 0, result != -EPIPE, result != -ECONNRESET {
            options.report.warning(
                "processes the program has left behind end with it: \(SystemError.reason(-result))")
        }
    }

    /// `--background`: the program runs on without a parent.
    private mutating func leave() -> Int32 {
        // As long as this process lives the coordinator waits for the program, no longer.
        let limit = Instant.now.advanced(seconds: 5)
        while !joined(), Instant.now < limit { _ = poll(nil, 0, 5) }
        linger()
        return ExitStatus.done
    }

    private mutating func giveUp(_ why: String) -> RestartError {
        end(RestartError("\(set.selectionName): \(why)"))
    }

    /// Ends all there is.
    private func end(_ error: RestartError) -> RestartError {
        endChild()
        jobs.end()
        return error
    }

    /// With the first process of a namespace everything in it ends; without one each is ended.
    private func endChild() {
        var state = scp_child()
        if reaper.pid != 0 { kill(reaper.pid, SIGKILL) }
        for pid in reaper.pid != 0 ? [child.pid] : child.pids { kill(pid, SIGKILL) }
        let limit = Instant.now.advanced(seconds: 10)
        while Instant.now < limit, scp_child_state(child.pid, &state) == 0,
            state.event != SCP_CHILD_EXITED.rawValue, state.event != SCP_CHILD_SIGNALED.rawValue
        {
            scp_child_await_end(child.pid, limit.millisecondsLeft)
        }
    }

    // MARK: - What restorers and shims tell

    private mutating func readReports(_ index: Int) throws(RestartError) {
        if child.arrivals.read(index, options.report) {
            let status = child.arrivals.descriptors[index]
            try system { () throws(SystemError) in try watched.poller.remove(status) }
        }
        isRestored = isRestored || child.arrivals.isRestored
    }
}
