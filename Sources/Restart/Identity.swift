import CRestart
import CSwiftCP
import ImageFormat
import Glibc
import SystemCalls

/// The ways to make the program's process and thread ids true again, best first.
enum IdentityLayer: String, CaseIterable {
    /// The same numbers in this pid namespace: all free, and this user may choose them.
    case same
    /// As root: a pid namespace of its own.
    case root
    /// User, pid and mount namespace of its own: no privilege needed.
    case user
    /// New numbers, written to where libc keeps them.
    case patch
}

/// Chooses and enters the layer.
struct Identity {
    let set: RestartSet
    /// Every number that is to be had: of processes and threads, and of those that are there for a time.
    let numbers: [UInt32]
    let options: RestartOptions
    /// Of the first layer, where that one needs to be tried.
    var trial: NamespaceTrial?

    /// `CAP_SYS_ADMIN`, `CAP_CHECKPOINT_RESTORE`.
    private static let administration: Int32 = 21
    private static let checkpointRestore: Int32 = 40

    /// The layers to try, in order. A test may force one.
    func candidates() -> [IdentityLayer] {
        if let forced = Environment.value("SWIFTCP_TEST_IDENTITY").flatMap(IdentityLayer.init) { return [forced] }
        if options.keepPids == .never { return [.patch] }
        let isAdministrator = crestart_has_capability(Self.administration) == 1
        let mayChoose = isAdministrator || crestart_has_capability(Self.checkpointRestore) == 1
        let same: [IdentityLayer] = mayChoose && firstTaken == nil ? [.same] : []
        let own: [IdentityLayer] = isAdministrator ? [.root, .user] : [.user]
        // Many numbers are long in the making: somebody else may take one meanwhile.
        guard set.images.count == 1 else { return own + same }
        return same + own + (options.keepPids == .require ? [] : [.patch])
    }

    /// A number that is in use here, or that no process of this pid namespace can have.
    var firstTaken: UInt32? {
        let limit = Self.highestNumber
        return numbers.first { $0 > limit || crestart_number_taken(Int32($0)) == 1 }
    }

    /// *Source:* proc_sys_kernel(5), pid_max: one above the highest number.
    private static var highestNumber: UInt32 {
        let text = try? Files.read("/proc/sys/kernel/pid_max", limit: 32)
        let digits = text.map { String(decoding: $0.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self) }
        return digits.flatMap { UInt32($0) }.map { $0 - 1 } ?? UInt32.max
    }

    /// What `layer` needs of the kernel; nil = nothing.
    func spaces(_ layer: IdentityLayer) -> crestart_spaces? {
        var spaces = crestart_spaces()
        (spaces.user, spaces.group) = (geteuid(), getegid())
        spaces.last_pid = numbers.max() ?? 0
        // No process of the set may see its clock go back.
        for header in set.images.map(\.header) {
            spaces.monotonic = max(spaces.monotonic, Int64(clamping: header.created_monotonic))
            spaces.boottime = max(spaces.boottime, Int64(clamping: header.created_boottime))
        }
        // SysV objects have to have their old numbers too, and may be there still.
        let pid = CRESTART_SPACE_PID.rawValue | CRESTART_SPACE_IPC.rawValue
        switch layer {
        case .same:
            guard crestart_has_capability(Self.administration) == 1 else { return nil }
            spaces.flags = CRESTART_SPACE_TIME.rawValue
        case .root: spaces.flags = pid | CRESTART_SPACE_TIME.rawValue
        case .user: spaces.flags = pid | CRESTART_SPACE_USER.rawValue | CRESTART_SPACE_TIME.rawValue
        case .patch: return nil
        }
        return spaces
    }

    /// Begins to try the first layer. Changes nothing.
    mutating func beginTrial() {
        guard let layer = candidates().first, layer != .same, let spaces = spaces(layer) else { return }
        trial = NamespaceTrial(spaces)
    }

    /// Enters the first layer that works. Moves this process into namespaces where the layer has some: nothing but the
    /// program may be started afterwards.
    ///
    /// - Parameter failed: layers that have been tried in vain.
    func enter(without failed: [IdentityLayer] = []) throws(RestartError) -> Entered {
        var reasons = failed.isEmpty ? [] : ["one of them was taken meanwhile"]
        for layer in candidates() where !failed.contains(layer) {
            if layer == .patch { try checkPatchable() }
            guard let wanted = spaces(layer) else { return Entered(layer: layer) }
            if layer == .same {
                // Its clock is all: where that cannot be had, nothing has changed.
                var clock = wanted
                _ = crestart_spaces_enter(&clock)
                return Entered(layer: layer)
            }
            guard let spaces = probe(wanted, &reasons) else { continue }
            return try Self.enter(layer, spaces)
        }
        throw RestartError(
            "the program's process ids cannot be given back (\(reasons.joined(separator: "; ")))"
                + (set.images.count == 1 ? "; --keep-pids never restarts it under new ones" : ""))
    }

    /// Tries in a child; a clock of its own is given up first. nil = it does not work.
    private func probe(_ wanted: crestart_spaces, _ reasons: inout [String]) -> crestart_spaces? {
        var spaces = wanted
        while spaces.flags != 0 {
            let begun = trial.flatMap { $0.spaces.flags == spaces.flags ? $0 : nil }
            let result = begun?.result ?? crestart_spaces_probe(&spaces)
            if result == 0 { return spaces }
            if spaces.flags & CRESTART_SPACE_TIME.rawValue == 0 {
                reasons.append("namespaces are refused: \(SystemError.reason(-result))")
                return nil
            }
            spaces.flags &= ~CRESTART_SPACE_TIME.rawValue
        }
        return nil
    }

    private static func enter(_ layer: IdentityLayer, _ spaces: crestart_spaces) throws(RestartError) -> Entered {
        var (spaces, entered) = (spaces, Entered(layer: layer))
        try system { () throws(SystemError) in
            try check(crestart_spaces_enter(&spaces), "enter", "namespaces for the program")
            if spaces.flags & CRESTART_SPACE_PID.rawValue != 0 {
                try check(
                    crestart_reaper_start(&spaces, &entered.reaper), "start", "the first process of a pid namespace")
            }
        }
        return entered
    }

    /// New thread ids break locks whose owner is kept as a number where the kernel or libc compares it.
    private func checkPatchable() throws(RestartError) {
        let file = set.rootImage
        for thread in file.threads where !thread.isCheckpointThread && thread.robust_list != 0 {
            let bytes = try reading { () throws(ImageError) in try file.memory(at: thread.robust_list, count: 8) }
            guard bytes.count == 8 else { continue }
            let next = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard next == thread.robust_list else {
                throw RestartError(
                    "thread \(thread.tid) holds a robust mutex, which names it by its id; the program cannot be"
                        + " restarted under new ids (no user namespaces here, and its ids are not free)")
            }
        }
    }
}

/// The layer that is in force.
struct Entered {
    let layer: IdentityLayer
    var reaper = crestart_reaper(pid: 0, channel: -1)

    /// Which numbers the processes get.
    var numbers: TreePlan.Numbers { layer == .patch ? .any : .recorded }

    var arrivalFlags: UInt32 {
        switch layer {
        case .same, .root: 0
        case .user: SCP_ARRIVAL_DROP_CAPABILITIES.rawValue
        case .patch: SCP_ARRIVAL_PATCHED_TIDS.rawValue
        }
    }
}
