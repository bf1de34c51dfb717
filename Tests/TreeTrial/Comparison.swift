import Glibc
import Restart
import TreeTrialCalls

/// What the kernel says of a process of the namespace.
struct Stat {
    let state: Character
    let ppid: UInt32, pgid: UInt32, sid: UInt32, exitSignal: UInt32, exitCode: Int32

    init?(_ pid: UInt32) {
        guard let file = fopen("/proc/\(pid)/stat", "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 2048)
        let count = fread(&bytes, 1, bytes.count, file)
        guard let end = bytes[..<count].lastIndex(of: UInt8(ascii: ")")) else { return nil }
        // Field 3 of the file is the first here.
        let fields = String(decoding: bytes[(end + 2)..<count], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        guard fields.count >= 50, let letter = fields[0].first else { return nil }
        func number(_ field: Int) -> UInt32 { UInt32(fields[field - 3]) ?? 0 }
        (state, exitCode) = (letter, Int32(fields[52 - 3]) ?? -1)
        (ppid, pgid, sid, exitSignal) = (number(4), number(5), number(6), number(38))
    }
}

/// Compares what was wanted with what is.
struct Comparison {
    private(set) var differences: [String] = []

    private mutating func expect(_ pid: UInt32, _ what: String, _ is: UInt32, _ wanted: Set<UInt32>) {
        if !wanted.contains(`is`) { differences.append("\(pid): \(what) is \(`is`), not \(wanted.sorted())") }
    }

    /// 0 = the parent or session is outside of the namespace.
    private func session(_ recorded: UInt32) -> Set<UInt32> {
        recorded == RandomTree.outside ? [0, recorded] : [recorded]
    }

    mutating func compare(_ tree: [TreeProcess], root: UInt32, reports: [UInt32: trial_report]) {
        for process in tree {
            let parent = process.pid == root ? 0 : process.ppid
            guard let report = reports[process.pid] else {
                differences.append("\(process.pid): has not reported")
                continue
            }
            expect(process.pid, "own pid", report.pid, [process.pid])
            expect(process.pid, "own ppid", report.ppid, [parent])
            expect(process.pid, "own group", report.pgid, [process.pgid])
            expect(process.pid, "own session", report.sid, session(process.sid))
            expect(process.pid, "subreaper", report.is_subreaper, [process.isSubreaper ? 1 : 0])
            expect(process.pid, "pending signals", report.pending, [0])
            compare(process.pid, parent, process.pgid, process.sid, process.exitSignal, nil)
            for zombie in process.zombies {
                compare(zombie.pid, process.pid, zombie.pgid, zombie.sid, zombie.exitSignal, zombie.status)
            }
        }
    }

    private mutating func compare(
        _ pid: UInt32, _ ppid: UInt32, _ pgid: UInt32, _ sid: UInt32, _ signal: UInt32, _ status: Int32?
    ) {
        guard let stat = Stat(pid) else {
            differences.append("\(pid): is not in /proc")
            return
        }
        expect(pid, "ppid", stat.ppid, [ppid])
        expect(pid, "group", stat.pgid, [pgid])
        expect(pid, "session", stat.sid, session(sid))
        expect(pid, "exit signal", stat.exitSignal, [signal])
        if (stat.state == "Z") != (status != nil) { differences.append("\(pid): its state is \(stat.state)") }
        if let status, stat.exitCode != status {
            differences.append("\(pid): its status is \(stat.exitCode), not \(status)")
        }
    }
}
