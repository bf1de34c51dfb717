import CRestart
import Glibc

/// The shell's job control for a program that lives in a process group of its own.
///
/// The shell knows the group of `swiftcp_restart` alone. Whatever it does to that group (foreground, stop, continue) is
/// done to the program's group; whenever the program stops, this group stops. SIGTTOU and SIGTTIN must be blocked.
///
/// *Source:* experiments on job control in tree.md Q3; bash sends no SIGCONT when `fg` is given to a running job.
final class JobControl {
    private let child: Int32
    /// The program's process group, as this process sees it: led by the program, or by somebody who is dead.
    private let group: Int32
    private let ownSession: Bool
    private let ownGroup = getpgrp()
    /// The controlling terminal, -1 = none.
    private let terminal: Int32
    /// The program's foreground group when it was stopped.
    private var remembered: Int32

    /// - Parameter foreground: a process whose group had the terminal when the image was written.
    init(child: Int32, ownSession: Bool, background: Bool, foreground: Int32? = nil) {
        self.child = child
        self.ownSession = ownSession
        let own = getpgid(child)
        group = own > 0 ? own : child
        // One in a session of its own has a terminal of its own, or none.
        let wanted = foreground.flatMap { getsid($0) == getsid(0) ? getpgid($0) : nil } ?? group
        remembered = wanted > 0 ? wanted : group
        terminal = ownSession || background ? -1 : max(-1, crestart_terminal_open())
    }

    deinit { if terminal >= 0 { close(terminal) } }

    private var isForeground: Bool { terminal >= 0 && tcgetpgrp(terminal) == ownGroup }

    /// A group of the program has the terminal.
    private var innerForeground: Int32? {
        guard terminal >= 0 else { return nil }
        let group = tcgetpgrp(terminal)
        return group > 0 && group != ownGroup ? group : nil
    }

    private func handOver() {
        guard isForeground else { return }
        if tcsetpgrp(terminal, remembered) != 0, remembered != group { tcsetpgrp(terminal, group) }
    }

    func begin() { handOver() }

    /// The program is gone: the terminal comes back, if it had it.
    func end() {
        guard let group = innerForeground else { return }
        // Another job of the shell may have it by now.
        if group == self.group || group == remembered || kill(-group, 0) != 0 { tcsetpgrp(terminal, ownGroup) }
    }

    /// The program has stopped: this process does too, unless it stopped for want of a terminal that it may have.
    func stopped(by number: Int32) {
        if number == SIGTTIN || number == SIGTTOU, isForeground {
            handOver()
            signalGroup(SIGCONT)
            return
        }
        remembered = innerForeground ?? remembered
        // Without a terminal there is no shell that would continue this process: whoever has stopped the program goes on
        // with the program, and if that is its end, this process must see it.
        guard terminal >= 0 else { return }
        // A terminal's stop is meant for the job, other stops for the process.
        if number == SIGSTOP { raise(SIGSTOP) } else { kill(0, SIGSTOP) }
        resume()
    }

    /// This process goes on (or its shell says that it is in the foreground now).
    func resume() {
        handOver()
        signalGroup(SIGCONT)
    }

    /// What came to this process was meant for the program: a terminal's signals for its foreground group.
    func forward(_ number: Int32) {
        switch number {
        case SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP:
            handOver()
            signalGroup(number)
        default: kill(child, number)
        }
    }

    /// What a terminal sends is for its foreground group; hanging up and going on are for the job as a whole.
    private func signalGroup(_ number: Int32) {
        if ownSession {
            kill(child, number)
            return
        }
        let foreground = innerForeground ?? remembered
        if foreground != group { kill(-foreground, number) }
        guard foreground == group || number == SIGCONT || number == SIGHUP else { return }
        if kill(-group, number) != 0 { kill(child, number) }
    }
}
