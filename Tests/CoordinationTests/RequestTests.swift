import Glibc
import Testing
import Wire

@testable import Coordination

@Suite("Requests and time")
struct RequestTests {
    @Test("Status shows processes, computations and the last checkpoint")
    func status() {
        var rig = Rig { $0.pid = 77 }
        let worker = rig.worker(10)
        _ = rig.worker(11, in: "two", name: "other")
        _ = rig.request(Request(.checkpoint, computation: "one"))
        rig.complete([worker])
        let all = rig.answer(Request(.status))
        #expect(all?.coordinator?.pid == 77)
        #expect(all?.processes?.map(\.pid) == [10, 11])
        #expect(all?.computation == nil)
        #expect(all?.computations.map(\.id) == ["one", "two"])
        #expect(all?.last_checkpoint?.generation == 1)
        let one = rig.answer(Request(.status, computation: "two"))
        #expect(one?.computation == "two")
        #expect(one?.processes?.map(\.own_pid) == [11])
        #expect(one?.last_checkpoint == nil)
        let none = rig.answer(Request(.list, computation: "three"))
        #expect(none?.error?.contains("three") == true)
    }

    @Test("A checkpoint without a process is an error with advice, --no-wait answers at once")
    func checkpointReplies() {
        var rig = Rig()
        #expect(rig.answer(Request(.checkpoint))?.error?.contains("swiftcp_launch") == true)
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint, noWait: true))
        #expect(rig.reply(command)?.status == "ok")
        #expect(rig.reply(command)?.checkpoint == nil)
        #expect(rig.complete([worker]) == 1)
        #expect(rig.replies.filter { $0.requester == .connection(command) }.count == 1)
    }

    @Test("kcheckpoint answers when the processes have ended")
    func kcheckpoint() {
        var rig = Rig()
        let workers = [rig.worker(10), rig.worker(11)]
        let command = rig.request(Request(.kcheckpoint))
        rig.complete(workers)
        #expect(workers.allSatisfy { rig.takeAll($0) == [.kill] })
        rig.die(workers[0], 10)
        #expect(rig.reply(command) == nil)
        rig.feed(.disconnected(workers[1]))
        #expect(rig.reply(command) == nil, "its pid is still taken")
        rig.feed(.processEnded(11))
        #expect(rig.reply(command)?.checkpoint?.generation == 1)
        #expect(rig.reply(command)?.command == "kcheckpoint")
    }

    @Test("kcheckpoint with a failed checkpoint ends nobody")
    func kcheckpointFails() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.kcheckpoint))
        rig.feed(.message(worker, .failed(Text(error: EIO, generation: 1, text: "broken"))))
        #expect(rig.reply(command)?.status == "error")
        #expect(!rig.takeAll(worker).contains(.kill))
        #expect(rig.coordinator.living.count == 1)
    }

    @Test("kcheckpoint while the program's own question for the same is being served gets the same answer")
    func kcheckpointAndQuestion() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.feed(.message(worker, .ask(Ask(kind: .checkpointAndEnd, signal: SIGINT))))
        rig.report(worker, .quiesced, 1)
        let command = rig.request(Request(.kcheckpoint))
        for stage in [Stage.snapshotted, .written] { rig.report(worker, stage, 1) }
        #expect(rig.takeAll(worker).last == .kill)
        rig.die(worker, 10)
        #expect(rig.reply(command)?.checkpoint?.generation == 1)
    }

    @Test("kill ends all processes, SIGKILL follows, and in the end the truth is told")
    func kill() {
        var rig = Rig { $0.killLimit = 10 }
        let (obedient, stubborn) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.kill))
        #expect(rig.takeAll(stubborn) == [.kill])
        #expect(rig.destroyed == [10, 11], "of several at once, so that none starts again what has ended")
        rig.die(obedient, 10)
        rig.pass(9)
        #expect(rig.destroyed == [10, 11])
        rig.pass(2)
        #expect(rig.destroyed == [10, 11, 11])
        #expect(rig.reply(command) == nil)
        rig.pass(11)
        #expect(rig.reply(command)?.error?.contains("11") == true)
        #expect(rig.answer(Request(.kill, computation: "nobody"))?.status == "error")
    }

    @Test("kill during a checkpoint gives that up first")
    func killDuringCheckpoint() {
        var rig = Rig()
        let worker = rig.worker(10)
        let checkpoint = rig.request(Request(.checkpoint))
        let queued = rig.request(Request(.checkpoint))
        _ = rig.takeAll(worker)
        let kill = rig.request(Request(.kill))
        #expect(rig.reply(checkpoint)?.error?.contains("ended by request") == true)
        #expect(rig.reply(queued)?.status == "error")
        let messages = rig.takeAll(worker)
        #expect(messages.count == 2 && messages.last == .kill)
        rig.die(worker, 10)
        #expect(rig.reply(kill)?.status == "ok")
        #expect(rig.exitStatus == nil)
    }

    @Test("A process that says HELLO while its computation is being ended is ended too")
    func helloWhileEnding() {
        var rig = Rig()
        let worker = rig.worker(10)
        _ = rig.launch(pid: 11, computation: "") { $0.join = true }
        let kill = rig.request(Request(.kill))
        rig.die(worker, 10)
        #expect(rig.reply(kill) == nil)
        let late = rig.worker(11)
        #expect(rig.takeAll(late) == [.kill])
        rig.die(late, 11)
        #expect(rig.reply(kill)?.status == "ok")
    }

    @Test("quit ends the processes, answers, then ends the coordinator; nobody may come meanwhile")
    func quit() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.quit))
        #expect(rig.launch(pid: 12, computation: "new")?.error == ESHUTDOWN)
        rig.die(worker, 10)
        #expect(rig.reply(command)?.status == "ok")
        #expect(rig.exitStatus == 0)
        var idle = Rig()
        let alone = idle.request(Request(.quit))
        #expect(idle.reply(alone)?.status == "ok")
        #expect(idle.exitStatus == 0)
    }

    @Test("Automatic checkpoints come at their interval, per computation, and not while one is made")
    func interval() {
        var rig = Rig { $0.interval = 10 }
        let one = rig.worker(10, in: "one")
        _ = rig.launch(pid: 11, computation: "two") { $0.interval = 3_000_000 }
        let two = rig.worker(11, in: "two")
        rig.pass(3.5)
        #expect(rig.takeOrder(one) == nil)
        #expect(rig.complete([two]) == 1)
        rig.pass(3)
        #expect(rig.complete([two]) == 2)
        rig.pass(4)
        #expect(rig.complete([one]) == 1)
        #expect(rig.takeOrder(two)?.generation == 3)
        rig.pass(20)
        #expect(rig.takeAll(two).isEmpty, "the third is still being made")
    }

    @Test("The interval can be changed and ended; a failed checkpoint does not end it")
    func changedInterval() {
        var rig = Rig()
        let worker = rig.worker(10)
        #expect(rig.coordinator.nextDeadline == nil)
        let command = rig.request(Request(.interval, interval: 5_000_000))
        #expect(rig.reply(command)?.coordinator?.interval_s == 5)
        rig.pass(6)
        rig.feed(.message(worker, .failed(Text(error: EIO, generation: 1, text: "broken"))))
        _ = rig.takeAll(worker)
        rig.pass(6)
        #expect(rig.complete([worker]) == 2)
        _ = rig.request(Request(.interval, interval: 0))
        rig.pass(100)
        #expect(rig.takeAll(worker).isEmpty)
    }

    @Test("A program gets a tenth of the interval for itself, however long its checkpoints take")
    func shortInterval() {
        var rig = Rig { $0.interval = 1 }
        rig.measures = Array(1...1000)
        let worker = rig.worker(10)
        rig.pass(1.5)
        for stage in [Stage.quiesced, .snapshotted] { rig.report(worker, stage, 1) }
        rig.pass(30)
        _ = rig.takeAll(worker)
        rig.report(worker, .written, 1)
        _ = rig.takeAll(worker)
        rig.pass(0.05)
        #expect(rig.takeOrder(worker) == nil)
        rig.pass(0.1)
        #expect(rig.takeOrder(worker)?.generation == 2)
    }

    @Test("A signal ends the coordinator alone: the running checkpoint is given up, the processes run on")
    func terminate() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        rig.feed(.terminate(signal: SIGINT, atOnce: true))
        #expect(rig.exitStatus == 0)
        #expect(rig.reply(command)?.status == "error")
        guard case .abort? = rig.takeAll(worker).last else {
            Issue.record("no ABORT")
            return
        }
    }

    @Test("A signal that a batch system sends to everything leaves the coordinator to its processes' last checkpoint")
    func terminateAll() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.feed(.terminate(signal: SIGTERM, atOnce: false))
        #expect(rig.exitStatus == nil)
        rig.feed(.message(worker, .ask(Ask(kind: .checkpointAndEnd, signal: SIGTERM))))
        #expect(rig.complete([worker]) == 1)
        #expect(rig.exitStatus == nil)
        rig.die(worker, 10)
        #expect(rig.exitStatus == 0)
        var idle = Rig()
        idle.feed(.terminate(signal: SIGTERM, atOnce: false))
        #expect(idle.exitStatus == 0)
    }

    @Test("A command that goes away does not stop what it asked for")
    func requesterGoes() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        rig.feed(.disconnected(command))
        #expect(rig.complete([worker]) == 1)
        #expect(rig.replies.isEmpty)
    }

    @Test("An ended computation is forgotten after a while")
    func forgotten() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.die(worker, 10)
        #expect(rig.coordinator.computations.count == 1)
        rig.pass(61)
        #expect(rig.coordinator.computations.isEmpty)
        #expect(rig.coordinator.nextDeadline == nil)
    }
}
