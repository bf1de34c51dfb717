import CSwiftCP
import Glibc
import Testing
import Wire

@testable import Coordination

@Suite("Processes that job control has stopped")
struct StoppedTests {
    /// The next order among what has been sent.
    private func order(_ rig: inout Rig, _ worker: ConnectionID) -> CheckpointOrder? {
        while let message = rig.take(worker) {
            if case .checkpoint(let order) = message { return order }
        }
        return nil
    }

    private func stray(_ pid: Int32) -> Stray {
        var stray = Stray(pid: pid, parent: 10, name: "stray", isMarked: true)
        stray.obstacle = .stopped
        return stray
    }

    @Test(
        "They are led until the checkpoint has ended; everybody is told that there are some, they by what they are stopped"
    )
    func led() {
        var rig = Rig()
        let (stopped, running) = (rig.worker(10), rig.worker(11))
        rig.stopped = [10]
        let command = rig.request(Request(.checkpoint))
        #expect(rig.led.values.map { $0 } == [[10]])
        let orders = [order(&rig, stopped), order(&rig, running)]
        #expect(orders.map { $0?.stoppedBy } == [19, 0])
        #expect(orders.map { $0?.stoppedAmong } == [1, 1])
        rig.finish([stopped, running], 1)
        #expect(rig.reply(command)?.status == "ok")
        #expect(rig.led.isEmpty)
    }

    @Test("An automatic checkpoint is left out where nothing runs, and made where something does")
    func automatic() {
        var rig = Rig { $0.interval = 5 }
        let worker = rig.worker(10)
        rig.stopped = [10]
        rig.pass(60)
        #expect(rig.takeAll(worker).compactMap { if case .checkpoint = $0 { 1 } else { nil } }.isEmpty)
        let other = rig.worker(11)
        rig.pass(6)
        #expect(order(&rig, worker)?.stoppedBy == 19)
        #expect(order(&rig, other)?.stoppedBy == 0)
    }

    @Test("Where they cannot be led the checkpoint fails with the reason", arguments: [EPERM, ETIMEDOUT])
    func refused(code: Int32) {
        var rig = Rig()
        _ = rig.worker(10)
        (rig.stopped, rig.leadError) = ([10], code)
        let error = rig.answer(Request(.checkpoint))?.error ?? ""
        #expect(error.contains("is stopped") && error.contains("continue it first"))
        #expect(error.contains("ptrace is restricted") == (code == EPERM))
    }

    @Test("One that is continued before memory is taken makes it begin again")
    func continued() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.stopped = [10]
        let command = rig.request(Request(.checkpoint))
        #expect(order(&rig, worker)?.stoppedBy == 19)
        rig.stopped = []
        let id = rig.coordinator.living.first?.id ?? ""
        rig.feed(.continued(id))
        #expect(order(&rig, worker)?.stoppedBy == 0)
        rig.finish([worker], 2)
        #expect(rig.reply(command)?.status == "ok")
    }

    @Test("One that is stopped while a stage waits for it is led in another attempt")
    func stoppedMeanwhile() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        #expect(order(&rig, worker)?.stoppedBy == 0)
        rig.stopped = [10]
        rig.pass(0.2)
        #expect(order(&rig, worker)?.stoppedBy == 19)
        rig.finish([worker], 2)
        #expect(rig.reply(command)?.status == "ok")
    }

    @Test("While members report nobody is looked at; when they have not for a while, all that are late are")
    func looks() {
        var rig = Rig()
        let workers = (10...12).map { rig.worker($0) }
        let command = rig.request(Request(.checkpoint))
        for worker in workers { _ = order(&rig, worker) }
        for worker in workers { rig.report(worker, .running, 1) }
        rig.stopped = [12]
        for worker in workers[..<2] {
            rig.report(worker, .quiesced, 1)
            rig.pass(0.12)
            #expect(rig.reply(command) == nil && rig.led.isEmpty)
        }
        rig.pass(0.2)
        #expect(order(&rig, workers[2])?.stoppedBy == 19)
    }

    @Test(
        "One that was stopped before it could connect is led in another attempt, and connects; it hears of its own children"
    )
    func newborn() {
        var rig = Rig()
        let (parent, grandchild) = (rig.worker(10), rig.worker(12))
        rig.stopped = [12]
        let command = rig.request(Request(.checkpoint))
        for worker in [parent, grandchild] { _ = order(&rig, worker) }
        rig.scans = [[stray(11)]]
        rig.stopped = [11, 12]
        rig.tellChildren(parent, [11], 1)
        for worker in [parent, grandchild] { rig.report(worker, .quiesced, 1) }
        rig.pass(0.2)
        #expect(rig.led.values.map { $0.sorted() } == [[11, 12]])
        #expect(order(&rig, parent)?.stoppedBy == 0)
        #expect(order(&rig, grandchild)?.stoppedBy == 19)
        let child = rig.worker(11)
        #expect(order(&rig, child)?.stoppedBy == 19)
        rig.tellChildren(parent, [11, 13], 2)
        rig.tellChildren(child, [12], 2)
        for worker in [parent, grandchild, child] { rig.report(worker, .running, 2) }
        for worker in [parent, grandchild, child] { _ = rig.takeAll(worker) }
        rig.finish([parent, grandchild, child], 2, stoppedChildren: [parent: [11], child: [12]])
        #expect(rig.reply(command)?.status == "ok")
    }
}
