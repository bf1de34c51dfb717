import CRestart

@testable import Restart

/// Carries out a plan's steps by the kernel's rules, on paper.
final class TreeReplay {
    struct Process: Equatable {
        var pid: UInt32
        /// Slot; -1 = the caller, -2 = the first process of the namespace.
        var parent: Int
        var pgid: UInt32
        var sid: UInt32
        var exitSignal: UInt32
        var isSubreaper = false
        var hasTerminal = false
        var status: Int32?
        var isGone = false
    }

    private(set) var slots: [Int: Process] = [
        TreeReplay.caller: Process(pid: 900_000, parent: -3, pgid: 0, sid: 0, exitSignal: 0)
    ]
    /// Steps that the kernel would have refused, or that make no sense.
    private(set) var faults: [String] = []
    private(set) var foreground: [Int: UInt32] = [:]

    static let caller = -1
    static let reaper = -2

    init(_ plan: TreePlan) { for step in plan.steps { carryOut(step) } }

    private func carryOut(_ step: crestart_tree_step) {
        let actor = step.actor == UInt32.max ? Self.caller : Int(step.actor)
        guard let process = slots[actor], process.status == nil else {
            faults.append("step \(step.kind): slot \(actor) is not there")
            return
        }
        switch crestart_tree_kind(step.kind) {
        case CRESTART_TREE_FORK: fork(step, by: actor)
        case CRESTART_TREE_SET_SESSION: setSession(actor)
        case CRESTART_TREE_SET_GROUP: setGroup(actor, step.number == 0 ? process.pid : step.number)
        case CRESTART_TREE_SUBREAPER: slots[actor]?.isSubreaper = step.value != 0
        case CRESTART_TREE_EXIT: exit(actor, Int32(bitPattern: step.value))
        case CRESTART_TREE_REAP: reap(step, by: actor, keep: false)
        case CRESTART_TREE_AWAIT: reap(step, by: actor, keep: true)
        case CRESTART_TREE_TERMINAL: slots[actor]?.hasTerminal = true
        case CRESTART_TREE_NO_TERMINAL: slots[actor]?.hasTerminal = false
        case CRESTART_TREE_FOREGROUND: setForeground(actor, step.number)
        default: faults.append("step \(step.kind) is unknown")
        }
    }

    private func exists(group: UInt32, in session: UInt32? = nil) -> Bool {
        slots.values.contains { !$0.isGone && $0.pgid == group && (session == nil || $0.sid == session) }
    }

    private func fork(_ step: crestart_tree_step, by actor: Int) {
        let number = step.number == 0 ? 800_000 : step.number
        if slots.values.contains(where: { !$0.isGone && ($0.pid == number || $0.pgid == number || $0.sid == number) }) {
            faults.append("fork of \(number): it exists")
        }
        guard var child = slots[actor] else { return }
        (child.pid, child.parent, child.exitSignal, child.isSubreaper) = (number, actor, step.value, false)
        slots[Int(step.subject)] = child
    }

    private func setSession(_ actor: Int) {
        guard let process = slots[actor] else { return }
        if exists(group: process.pid) { faults.append("setsid of \(process.pid): it leads a group") }
        slots[actor]?.sid = process.pid
        slots[actor]?.pgid = process.pid
        slots[actor]?.hasTerminal = false
    }

    private func setGroup(_ actor: Int, _ group: UInt32) {
        guard let process = slots[actor] else { return }
        if process.sid == process.pid || group != process.pid && !exists(group: group, in: process.sid) {
            faults.append("setpgid of \(process.pid) to \(group): not permitted")
        }
        slots[actor]?.pgid = group
    }

    private func setForeground(_ actor: Int, _ group: UInt32) {
        if !exists(group: group, in: slots[actor]?.sid) { faults.append("tcsetpgrp: there is no group \(group)") }
        foreground[actor] = group
    }

    private func exit(_ actor: Int, _ status: Int32) {
        slots[actor]?.status = status
        var heir = slots[actor]?.parent ?? Self.reaper
        while heir >= 0, let process = slots[heir], !process.isSubreaper || process.status != nil {
            heir = process.parent
        }
        for (slot, process) in slots where process.parent == actor && !process.isGone {
            slots[slot]?.parent = heir == Self.caller ? Self.reaper : heir
            slots[slot]?.exitSignal = 17
        }
        if slots[actor]?.parent == Self.reaper { slots[actor]?.isGone = true }
    }

    private func reap(_ step: crestart_tree_step, by actor: Int, keep: Bool) {
        let slot = Int(step.subject)
        guard let process = slots[slot], process.parent == actor, process.status != nil, process.pid == step.number
        else {
            faults.append("wait for \(step.number): no such child")
            return
        }
        if !keep { slots[slot]?.isGone = true }
    }

    // MARK: - Comparison

    /// What differs from the plan's input; nothing but these processes may be left.
    func differences(_ processes: [TreeProcess], root: UInt32, outside: Set<UInt32> = []) -> [String] {
        var wrong = faults
        var places: [UInt32: Int] = [:]
        for (slot, process) in processes.enumerated() { places[process.pid] = slot }
        for (slot, process) in processes.enumerated() {
            var wanted = Process(
                pid: process.pid, parent: process.pid == root ? Self.caller : places[process.ppid] ?? Self.reaper,
                pgid: process.pgid, sid: outside.contains(process.sid) ? 0 : process.sid, exitSignal: process.exitSignal
            )
            (wanted.isSubreaper, wanted.hasTerminal) = (process.isSubreaper, process.hasTerminal)
            if slots[slot] != wanted {
                wrong.append("\(process.pid): \(String(describing: slots[slot])), not \(wanted)")
            }
            for zombie in process.zombies {
                let found = slots.values.filter { !$0.isGone && $0.status == zombie.status && $0.pid == zombie.pid }
                if found.map(\.parent) != [slot] { wrong.append("zombie \(zombie.pid): \(found)") }
            }
        }
        let left = slots.values.filter { !$0.isGone }.count - 1
        let expected = processes.reduce(0) { $0 + 1 + $1.zombies.count }
        return left == expected ? wrong : wrong + ["\(left) processes are there, not \(expected)"]
    }
}
