// A reply in words and tables, for people.

extension CommandReply {
    /// Several lines without a final newline.
    public func text() -> String {
        if let error { return "error: \(error)" }
        switch command {
        case "status": return statusText()
        case "list": return listText()
        case "interval": return intervalText()
        case "kill": return "the processes have ended"
        case "quit": return "the processes and the coordinator have ended"
        default: return checkpointText()
        }
    }

    /// One short line: `2 processes | last checkpoint: generation 3, 12.0 MB, paused 1.2 ms`.
    public var summary: String {
        let count = processes?.count ?? 0
        var parts = [Self.count(count, "process", "processes")]
        if computations.count > 1 { parts.append("\(computations.count) computations") }
        if computations.contains(where: { $0.state == "checkpointing" }) { parts.append("checkpointing") }
        if let last = last_checkpoint { parts.append("last checkpoint: \(last.summary)") }
        return "[\(parts.joined(separator: " | "))] h for help "
    }

    private static func count(_ number: Int, _ one: String, _ many: String) -> String {
        "\(number) \(number == 1 ? one : many)"
    }

    private func statusText() -> String {
        var lines: [String] = []
        if let coordinator {
            let uptime = Quantity.duration(coordinator.uptime_s)
            lines.append("Coordinator  \(coordinator.address) (process \(coordinator.pid), up \(uptime))")
            lines.append("Interval     \(Quantity.interval(coordinator.interval_s))")
        }
        for computation in computations {
            lines.append("Computation  \(computation.id) (\(computation.name)), \(computation.state)")
            lines.append("  images in  \(computation.checkpoint_directory)")
            if computation.interval_s != coordinator?.interval_s {
                lines.append("  interval   \(Quantity.interval(computation.interval_s))")
            }
            let last = computation.last_checkpoint
            if let progress = computation.progress { lines.append("  now        \(progress.text)") }
            lines.append("  last       \(last.map(\.longText) ?? "no checkpoint yet")")
        }
        if computations.isEmpty, let last = last_checkpoint { lines.append("Last         \(last.longText)") }
        lines.append(listText())
        return lines.joined(separator: "\n")
    }

    private func listText() -> String {
        guard let processes, !processes.isEmpty else { return "No process is there." }
        let several = computations.count > 1
        var rows = [["PID", "OWN PID", "THREADS", "RESIDENT", "STATE", "NAME"] + (several ? ["COMPUTATION"] : [])]
        for process in processes {
            rows.append(
                [
                    "\(process.pid)", "\(process.own_pid)", "\(process.threads)",
                    Quantity.bytes(process.resident_bytes), process.state, process.name,
                ] + (several ? [process.computation] : []))
        }
        return Self.table(rows, rightAligned: 4)
    }

    private static func table(_ rows: [[String]], rightAligned: Int) -> String {
        let columns = rows[0].indices
        let widths = columns.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            let cells = columns.map { column -> String in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                if column < rightAligned { return padding + row[column] }
                return column == columns.upperBound - 1 ? row[column] : row[column] + padding
            }
            return cells.joined(separator: "  ")
        }
        return lines.joined(separator: "\n")
    }

    private func intervalText() -> String {
        guard let interval = computations.first?.interval_s ?? coordinator?.interval_s else { return "done" }
        return "automatic checkpoints: \(Quantity.interval(interval))"
    }

    private func checkpointText() -> String {
        let made = computations.compactMap(\.last_checkpoint).filter(\.ok)
        guard checkpoint != nil, !made.isEmpty else { return "the checkpoint has been started" }
        return made.map(\.longText).joined(separator: "\n")
    }
}

extension ProgressReply {
    /// `generation 3: 1.2 GB of about 4.0 GB written by 50 processes in 1.5 s`.
    var text: String {
        "generation \(generation): \(Quantity.bytes(bytes_written)) of about \(Quantity.bytes(bytes_expected)) written by"
            + " \(processes) process\(processes == 1 ? "" : "es") in \(Quantity.duration(elapsed_ms / 1000))"
    }
}

extension CheckpointReply {
    /// `generation 3, 12.0 MB, paused 1.2 ms`.
    public var summary: String {
        guard ok else { return "failed" }
        return "generation \(generation), \(Quantity.bytes(bytes_written)), paused \(pause_ms) ms"
    }

    /// `generation 3 in /images/ckpt_counter_1a2b/gen-000003: 1 process, 12.0 MB, paused 1.2 ms, took 30.5 ms`.
    var longText: String {
        guard ok else { return "failed at \(started_at): \(error ?? "unknown reason")" }
        return "generation \(generation) in \(path ?? "?"): \(processes) process\(processes == 1 ? "" : "es"), "
            + "\(Quantity.bytes(bytes_written)), paused \(pause_ms) ms, took \(duration_ms) ms"
    }
}

/// Numbers with units, for people.
enum Quantity {
    /// Powers of 1000: `12.3 MB`.
    static func bytes(_ value: UInt64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
        var amount = Double(value)
        var unit = 0
        while amount >= 999.95, unit + 1 < units.count {
            amount /= 1000
            unit += 1
        }
        return unit == 0 ? "\(value) B" : "\(tenths(amount)) \(units[unit])"
    }

    /// Seconds: `12.3 s`, `5 min 3 s`, `2 h 5 min`, `3 d 4 h`.
    static func duration(_ seconds: Double) -> String {
        if seconds < 60 { return "\(tenths(seconds)) s" }
        let whole = Int(min(seconds, 1e12))
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        if whole < 86400 { return "\(whole / 3600) h \(whole / 60 % 60) min" }
        return "\(whole / 86400) d \(whole / 3600 % 24) h"
    }

    static func interval(_ seconds: Double) -> String {
        if seconds == 0 { return "no automatic checkpoints" }
        return seconds == seconds.rounded() && seconds < 1e12 ? "every \(Int(seconds)) s" : "every \(seconds) s"
    }

    private static func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
}
