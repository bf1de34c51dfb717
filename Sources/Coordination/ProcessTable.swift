import SystemCalls
import Wire

/// What /proc knows of a process. *Source:* proc_pid_status(5).
enum ProcessTable {
    /// Fills in state, threads and resident memory; a process that has gone stays "gone".
    static func complete(_ process: inout ProcessReply) {
        guard process.pid > 0, let bytes = try? Files.read("/proc/\(process.pid)/status", limit: 1 << 16) else {
            return
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let words = parts[1].split { $0 == " " || $0 == "\t" }
            guard let first = words.first else { continue }
            switch parts[0] {
            case "State": process.state = stateName(first)
            case "Threads": process.threads = Int(first) ?? 0
            case "VmRSS": process.resident_bytes = (UInt64(first) ?? 0) * 1024
            default: break
            }
        }
    }

    /// By job control or a debugger: none of its threads runs, the checkpoint thread neither.
    static func isStopped(_ pid: Int32) -> Bool {
        ProcessStat(pid)?.isStopped == true
    }

    /// Who traces the process: "process 12 (gdb)".
    static func debugger(of pid: Int32) -> String? {
        guard let bytes = try? Files.read("/proc/\(pid)/status", limit: 1 << 16),
            let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first(where: {
                $0.hasPrefix("TracerPid:")
            }), let tracer = line.split(separator: "\t").last.flatMap({ Int32($0) }), tracer > 0
        else { return nil }
        let name = (try? Files.read("/proc/\(tracer)/comm", limit: 64)) ?? []
        return "process \(tracer) (\(String(decoding: name.filter { $0 != 10 }, as: UTF8.self)))"
    }

    static func stateName(_ letter: Substring) -> String {
        switch letter {
        case "R": "running"
        case "S", "I": "sleeping"
        case "D": "waiting"
        case "T", "t": "stopped"
        case "Z", "X": "zombie"
        default: String(letter)
        }
    }

    /// Adds what /proc knows to every process of a reply.
    static func complete(_ reply: CommandReply) -> CommandReply {
        guard var processes = reply.processes else { return reply }
        for index in processes.indices { complete(&processes[index]) }
        var filled = reply
        filled.processes = processes
        for index in filled.computations.indices {
            let id = filled.computations[index].id
            let resident = processes.filter { $0.computation == id }.reduce(UInt64(0)) { $0 &+ $1.resident_bytes }
            complete(&filled.computations[index].progress, resident: resident)
        }
        return filled
    }

    /// Sizes of the images that are being made. They grow as they are written, but for what is dropped again.
    private static func complete(_ progress: inout ProgressReply?, resident: UInt64) {
        guard let folder = progress?.path, let names = try? Files.list(folder) else { return }
        let written = names.reduce(UInt64(0)) { sum, name in
            sum &+ ((try? Files.status(folder + "/" + name).allocated) ?? 0)
        }
        progress?.bytes_written = written
        progress?.bytes_expected = max(resident, written)
    }
}
