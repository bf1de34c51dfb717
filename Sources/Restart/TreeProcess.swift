/// What is planned of one process of a set: its place among the others.
///
/// All numbers are as the processes themselves see them.
package struct TreeProcess {
    package var pid: UInt32
    /// Not in the set, and not the root: an orphan, which gets the namespace's first process as its parent.
    package var ppid: UInt32
    package var pgid: UInt32
    /// 0: led from outside of the processes' pid namespace.
    package var sid: UInt32
    /// What its parent gets at its end; 0 = nothing.
    package var exitSignal: UInt32
    package var isSubreaper = false
    /// It has a controlling terminal.
    package var hasTerminal = false
    /// Of a session leader with a terminal: the terminal's foreground group, 0 = none.
    package var foreground: UInt32 = 0
    /// Thread ids, with or without `pid`.
    package var threads: [UInt32] = []
    /// Children that have ended and have not been waited for.
    package var zombies: [TreeZombie] = []

    package init(pid: UInt32, ppid: UInt32, pgid: UInt32, sid: UInt32, exitSignal: UInt32 = 17) {
        (self.pid, self.ppid, self.pgid, self.sid, self.exitSignal) = (pid, ppid, pgid, sid, exitSignal)
    }
}

/// A child that has ended and has not been waited for.
package struct TreeZombie {
    package var pid: UInt32
    package var pgid: UInt32
    package var sid: UInt32
    package var exitSignal: UInt32
    /// As wait(2) gives it.
    package var status: Int32

    package init(pid: UInt32, pgid: UInt32, sid: UInt32, exitSignal: UInt32 = 17, status: Int32) {
        (self.pid, self.pgid, self.sid, self.exitSignal, self.status) = (pid, pgid, sid, exitSignal, status)
    }
}
