import Glibc
import Testing
import Wire

@testable import Coordination

@Suite struct `A process that cannot be saved just then` {
    @Test func `Everybody runs for a moment, then the checkpoint is made`() {
        var rig = Rig()
        let (busy, other) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        for worker in [busy, other] { _ = rig.takeOrder(worker) }
        rig.feed(.message(busy, .failed(Text(error: EAGAIN, generation: 1, text: "connections wait"))))
        rig.feed(.message(other, .failed(Text(error: EAGAIN, generation: 1, text: "events wait"))))
        for worker in [busy, other] {
            #expect(
                rig.takeAll(worker) == [
                    .abort(Text(error: EAGAIN, generation: 1, text: "process 10 (counter): connections wait"))
                ])
        }
        #expect(rig.reply(command) == nil)
        rig.pass(0.01)
        #expect(rig.complete([busy, other]) == 2)
        #expect(rig.reply(command)?.status == "ok")
    }

    @Test func `What does not pass fails in the end, with the process's words`() {
        var rig = Rig { $0.repeatLimit = 2 }
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        var orders = 0
        while rig.reply(command) == nil, orders < 1000 {
            guard let order = rig.takeOrder(worker) else {
                Issue.record("no order")
                return
            }
            orders += 1
            rig.feed(
                .message(worker, .failed(Text(error: EAGAIN, generation: order.generation, text: "connections wait"))))
            _ = rig.takeAll(worker)
            rig.pass(0.11)
        }
        #expect((5...100).contains(orders))
        #expect(rig.reply(command)?.error == "process 10 (counter): connections wait")
        #expect(rig.coordinator.living.first?.checkpoint == nil)
    }

    @Test func `A machine that is so busy that one attempt takes longer than the limit gets three of them`() {
        var rig = Rig { $0.repeatLimit = 2 }
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        for generation in UInt32(1)...3 {
            #expect(rig.takeOrder(worker)?.generation == generation)
            #expect(rig.reply(command) == nil)
            rig.pass(5)
            rig.feed(.message(worker, .failed(Text(error: EAGAIN, generation: generation, text: "connections wait"))))
            _ = rig.takeAll(worker)
            rig.pass(0.11)
        }
        #expect(rig.reply(command)?.error == "process 10 (counter): connections wait")
    }

    @Test func `The last process ends meanwhile`() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(worker)
        rig.feed(.message(worker, .failed(Text(error: EAGAIN, generation: 1, text: "connections wait"))))
        rig.die(worker, 10)
        rig.pass(1)
        #expect(rig.reply(command)?.status == "error")
    }
}
