extension ImageInfo {
    /// Several lines for people, ending in a newline.
    public var text: String {
        let facts: [(String, String)] = [
            ("image", path),
            ("process", "\(pid) \(name), user \(user), parent \(parentPid)"),
            ("command", command.isEmpty ? executable : command.map(quoted).joined(separator: " ")),
            ("program", executable),
            ("directory", directory),
            ("terminal", terminal),
            ("computation", "\(computation), generation \(generation)"),
            ("taken", "\(createdAt) on \(host), Linux \(kernel), \(machine), libc \(libc)"),
            ("size", "\(readable(bytes)) (\(bytes) bytes), format \(formatVersion)"),
            (
                "memory",
                "\(readable(memory.stored)) in \(memory.blocks) blocks, of \(readable(memory.mapped)) mapped in "
                    + "\(memory.regions) regions"
            ),
            (
                incremental ? "incremental" : "beside it",
                needs.isEmpty ? "" : "\(readable(memory.inherited)) of memory stand in other files:"
            ),
        ]
        var lines = facts.filter { !$0.1.isEmpty }.map { filled($0.0, 13) + printable($0.1) }
        lines += needs.map { need in
            indent + printable("generation \(need.generation): \(readable(need.bytes)) in \(need.image)")
        }
        if let compression { lines.append(filled("compressed", 13) + compression.text) }
        lines.append(filled("threads", 13) + String(threads.count))
        lines += threads.prefix(Self.listed).map(line)
        if threads.count > Self.listed { lines.append(indent + "… and \(threads.count - Self.listed) more") }
        lines.append(filled("descriptors", 13) + String(descriptors.count))
        lines += descriptors.prefix(Self.listed).map(line)
        if descriptors.count > Self.listed { lines.append(indent + "… and \(descriptors.count - Self.listed) more") }
        if pendingSignals + timers + locks > 0 {
            lines.append(
                filled("also", 13) + "\(pendingSignals) pending signals, \(timers) timers, \(locks) file locks")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Threads and descriptors beyond this many are counted, not shown; `--json` has them all.
    private static let listed = 64
    private var indent: String { String(repeating: " ", count: 13) }

    private func line(_ thread: Thread) -> String {
        let activity = thread.systemCall.map { "in system call \($0)" } ?? "computing"
        return indent + printable("\(padded(String(thread.tid), 7, " ")) \(filled(thread.name, 16)) \(activity)")
    }

    private func line(_ descriptor: Descriptor) -> String {
        var text = "\(padded(String(descriptor.number), 7, " ")) \(descriptor.kind)"
        if !descriptor.path.isEmpty { text += " \(descriptor.path)" }
        if let position = descriptor.position { text += " at \(position)" }
        if descriptor.saved { text += ", content saved" }
        return indent + printable(text)
    }
}

/// A word as a shell would need it.
private func quoted(_ word: String) -> String {
    let plain = word.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "._-+/=:,@%".utf8.contains(byte)
        }
    }
    return plain && !word.isEmpty
        ? word
        : "'"
            + word.split(separator: "'", omittingEmptySubsequences: false)
            .joined(separator: "'\\''") + "'"
}

/// Bytes with a binary unit and one decimal: "17.3 MiB".
public func readable(_ bytes: UInt64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
        value /= 1024
        unit += 1
    }
    guard unit > 0 else { return "\(bytes) B" }
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10) \(units[unit])"
}
