import CSwiftCP
import SystemCalls
import Testing
import Wire

@testable import Coordination

@Suite("All processes prepare before any of them stops")
struct StartTests {
    /// Whether the order tells to wait for GO running.
    private func waits(_ order: CheckpointOrder?) -> Bool {
        (order?.flags ?? 0) & UInt32(SCP_CHECKPOINT_TOGETHER.rawValue) != 0
    }

    private func isAlone(_ order: CheckpointOrder?) -> Bool {
        (order?.flags ?? 0) & UInt32(SCP_CHECKPOINT_ALONE.rawValue) != 0
    }

    private func start(_ processes: UInt32) -> Message {
        .go(StageGo(stage: .running, generation: 1, processes: processes))
    }

    @Test("Nobody is told to stop before the last one is prepared")
    func together() {
        var rig = Rig()
        let workers = (10...12).map { rig.worker($0) }
        let command = rig.request(Request(.checkpoint))
        for worker in workers { #expect(waits(rig.takeOrder(worker))) }
        for worker in workers {
            #expect(workers.allSatisfy { rig.takeAll($0).isEmpty })
            rig.report(worker, .running, 1)
        }
        for worker in workers { #expect(rig.takeAll(worker) == [start(3)]) }
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            for worker in workers { rig.report(worker, stage, 1) }
        }
        #expect(rig.reply(command)?.checkpoint?.processes == 3)
    }

    @Test("No more than so many prepare at once")
    func bounded() {
        var rig = Rig { $0.preparers = 2 }
        let workers = (10...14).map { rig.worker($0) }
        let command = rig.request(Request(.checkpoint))
        #expect(workers.map { waits(rig.takeOrder($0)) } == [true, true, false, false, false])
        rig.report(workers[1], .running, 1)
        #expect(waits(rig.takeOrder(workers[2])))
        #expect(rig.takeOrder(workers[3]) == nil)
        // One that has no order yet ends: it is passed over. One that prepares ends: the next takes its place.
        rig.die(workers[3], 13)
        #expect(rig.takeOrder(workers[4]) == nil)
        rig.die(workers[0], 10)
        #expect(waits(rig.takeOrder(workers[4])))
        rig.report(workers[2], .running, 1)
        #expect(rig.takeAll(workers[1]).isEmpty)
        rig.report(workers[4], .running, 1)
        let left = [workers[1], workers[2], workers[4]]
        for worker in left { #expect(rig.takeAll(worker) == [start(3)]) }
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            for worker in left { rig.report(worker, stage, 1) }
        }
        #expect(rig.reply(command)?.checkpoint?.processes == 3)
    }

    @Test("The last one to be asked ends before it is: the others do not wait for it")
    func lastOneGone() {
        var rig = Rig { $0.preparers = 1 }
        let (first, second) = (rig.worker(10), rig.worker(11))
        _ = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(first)
        rig.die(second, 11)
        #expect(rig.takeAll(first).isEmpty)
        rig.report(first, .running, 1)
        #expect(rig.take(first) == start(1))
    }

    @Test("A process that is alone waits for nobody")
    func alone() {
        var rig = Rig()
        let worker = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        let order = rig.takeOrder(worker)
        #expect(!waits(order) && isAlone(order))
        let second = rig.worker(11)
        #expect(!isAlone(rig.takeOrder(second)), "the first one has its order")
    }

    @Test("Who joins while others prepare is told with them, and not waited for")
    func newcomer() {
        var rig = Rig()
        let (first, second) = (rig.worker(10), rig.worker(11))
        _ = rig.request(Request(.checkpoint))
        rig.report(first, .running, 1)
        let child = rig.worker(12)
        #expect(waits(rig.takeOrder(child)))
        rig.report(second, .running, 1)
        #expect(rig.take(child) == start(3))
        rig.report(child, .running, 1)  // on its way when GO was sent
        #expect(rig.takeAll(child).isEmpty)
        let late = rig.worker(13)
        #expect(!waits(rig.takeOrder(late)), "the others stand still")
    }

    @Test("Who ends or execs while it prepares is not waited for", arguments: [true, false])
    func gone(execs: Bool) {
        var rig = Rig()
        let (first, second) = (rig.worker(10), rig.worker(11))
        _ = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(first)
        rig.report(first, .running, 1)
        rig.feed(.disconnected(second))
        #expect(rig.take(first) == start(1))
        if execs {
            let again = rig.worker(11)
            #expect(!waits(rig.takeOrder(again)))
        }
    }

    @Test("A process that is late in its preparations is named, those that wait for it are not")
    func named() {
        var rig = Rig()
        let (first, second) = (rig.worker(10, name: "quick"), rig.worker(11, name: "slow"))
        let command = rig.request(Request(.checkpoint))
        rig.report(first, .running, 1)
        rig.pass(200)
        let error = rig.reply(command)?.error ?? ""
        #expect(error.contains("process 11 (slow)") && !error.contains("quick"), "\(error)")
        _ = second
    }

    @Test("Prepared after it stood still is out of order")
    func outOfOrder() {
        var rig = Rig()
        let (first, second) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        rig.report(first, .quiesced, 1)
        rig.report(first, .running, 1)
        #expect(rig.reply(command)?.error?.contains("out of order") == true)
        _ = second
    }
}
