import CSwiftCP
import Glibc
import ImageFormat

// The set as the planner of the process tree wants it.

extension RestartSet {
    /// Sessions whose leader is of the set and had the user's terminal: the shell's session owns it now.
    var lentSessions: Set<UInt32> {
        Set(images.filter { $0.isSessionLeader && hasOuterTerminal($0) }.map(\.process.pid))
    }

    /// The root was its session's leader and is again.
    var rootHasOwnSession: Bool { rootImage.isSessionLeader && !hasOuterTerminal(rootImage) }

    /// Number of its controlling terminal, when the master of that is in the set.
    func innerTerminal(of image: Image) -> UInt64? {
        image.terminalNumber.flatMap { masters.contains($0) ? $0 : nil }
    }

    func hasOuterTerminal(_ image: Image) -> Bool { image.hasTerminal && innerTerminal(of: image) == nil }

    func treeProcesses() -> [TreeProcess] {
        let pids = Set(images.map(\.process.pid) + images.flatMap { $0.zombies.map(\.pid) })
        let root = rootImage.process
        return images.map { image in
            let process = image.process
            var tree = TreeProcess(pid: process.pid, ppid: process.ppid, pgid: process.pgid, sid: process.sid)
            // The session that the root was born in, and did not lead: swiftcp_restart's takes its place.
            if process.sid == root.sid, !pids.contains(process.sid) { tree.sid = 0 }
            // Of the root this command learns by SIGCHLD.
            tree.exitSignal = process.pid == root.pid ? UInt32(SIGCHLD) : process.exit_signal
            tree.isSubreaper = process.child_subreaper != 0
            let isInner = innerTerminal(of: image) != nil
            tree.hasTerminal = isInner || image.hasTerminal && tree.sid == 0
            if isInner, image.isSessionLeader { tree.foreground = process.terminal_group }
            tree.threads = image.threads.map(\.tid)
            tree.zombies = image.zombies.map { zombie in
                TreeZombie(
                    pid: zombie.pid, pgid: zombie.pgid,
                    sid: zombie.sid == root.sid && !pids.contains(zombie.sid) ? 0 : zombie.sid,
                    exitSignal: zombie.exit_signal, status: zombie.status)
            }
            return tree
        }
    }
}

extension Image {
    fileprivate var isSessionLeader: Bool { process.sid == process.pid }
    fileprivate var hasTerminal: Bool { !stringBytes(process.terminal).isEmpty }

    /// Of a pseudo-terminal.
    fileprivate var terminalNumber: UInt64? { pseudoTerminalNumber(ofDevice: UInt64(process.terminal_device)) }
}

/// Number of the pseudo-terminal with this device number of its slave, in the kernel's encoding (TIOCGDEV, stat's field 7).
func pseudoTerminalNumber(ofDevice device: UInt64) -> UInt64? {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00)
    return major == 136 ? minor : nil
}
