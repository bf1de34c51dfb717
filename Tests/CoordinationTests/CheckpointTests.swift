import CSwiftCP
import Glibc
import Testing
import Wire

@testable import Coordination

@Suite("Checkpoints")
struct CheckpointTests {
    @Test("The barrier holds after each stage until all have reported it")
    func barrier() {
        var rig = Rig()
        let workers = [rig.worker(10), rig.worker(11), rig.worker(12)]
        let command = rig.request(Request(.checkpoint))
        let orders = workers.compactMap { rig.takeOrder($0) }
        #expect(orders.map(\.generation) == [1, 1, 1])
        #expect(Set(orders.map(\.path)).count == 3)
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            rig.report(workers[1], stage, 1)
            rig.report(workers[2], stage, 1)
            #expect(workers.allSatisfy { rig.takeAll($0).isEmpty })
            rig.report(workers[0], stage, 1)
            let expected: Stage = stage == .written ? .committed : stage
            let go = Message.go(StageGo(stage: expected, generation: 1, processes: 3))
            #expect(workers.allSatisfy { rig.takeAll($0).last == go })
        }
        let reply = rig.reply(command)
        #expect(reply?.status == "ok")
        #expect(reply?.checkpoint?.ok == true)
        #expect(reply?.checkpoint?.processes == 3)
        #expect(reply?.checkpoint?.bytes_written == 3 * 4096)
        #expect(reply?.checkpoint?.pause_ms == 2.5)
        #expect(reply?.checkpoint?.snapshot == "stop")
        #expect(rig.diskLog == ["prepare", "assign", "commit", "prune 1 2"])
    }

    @Test("The manifest holds what LAUNCH and the workers said")
    func manifest() {
        var rig = Rig {
            $0.host = "node7"
            $0.kernel = "6.18"
        }
        _ = rig.launch(pid: 10) { $0.keep = 9 }
        let worker = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        rig.complete([worker])
        let manifest = rig.manifests.first
        #expect(manifest?.computation.command == ["./counter", "10"])
        #expect(manifest?.computation.directory == "/home")
        #expect(manifest?.host == "node7")
        #expect(manifest?.kernel == "6.18")
        #expect(manifest?.generation == 1)
        #expect(manifest?.createdAt == "2023-11-14T22:30:00.000Z")
        #expect(manifest?.processes.map(\.image) == ["counter_10.swiftcp"])
        #expect(manifest?.processes.map(\.metadataChecksum) == [7])
        #expect(rig.diskLog.last == "prune 1 9")
    }

    @Test("A checkpoint waits for announced processes, until they come or are gone")
    func announced() {
        for comes in [true, false] {
            var rig = Rig()
            let first = rig.worker(10)
            _ = rig.launch(pid: 11, computation: "") { $0.join = true }
            let command = rig.request(Request(.checkpoint))
            #expect(rig.takeOrder(first) == nil)
            if comes {
                let second = rig.worker(11, takesWelcome: true)
                #expect(rig.complete([first, second]) == 1)
            } else {
                rig.feed(.processEnded(11))
                #expect(rig.complete([first]) == 1)
            }
            #expect(rig.reply(command)?.checkpoint?.processes == (comes ? 2 : 1))
        }
    }

    @Test("An announced process that never comes makes the checkpoint fail by name, and nobody was stopped")
    func announcedNeverComes() {
        var rig = Rig { $0.announceLimit = 30 }
        let first = rig.worker(10)
        _ = rig.launch(pid: 11, computation: "") { $0.join = true }
        let command = rig.request(Request(.checkpoint))
        rig.pass(31)
        #expect(rig.reply(command)?.error?.contains("process 11 (counter)") == true)
        #expect(rig.takeAll(first).isEmpty)
        #expect(rig.diskLog.isEmpty)
    }

    @Test(
        "After the death of a worker in a stage the checkpoint is made again, by those who are left",
        arguments: [Stage.surveyed, .snapshotted])
    func deathInStage(stage: Stage) {
        var rig = Rig()
        let (victim, other) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(stage, &rig, [victim, other])
        rig.report(other, stage, 1)
        rig.die(victim, 10)
        guard case .abort(let text)? = rig.take(other) else {
            Issue.record("no ABORT")
            return
        }
        #expect(text.generation == 1 && text.text.contains("process 10 (counter)"))
        #expect(rig.diskLog.contains("discard 1"))
        #expect(rig.reply(command) == nil)
        #expect(rig.complete([other]) == 2)
        #expect(rig.reply(command)?.status == "ok")
    }

    @Test("The death of the only worker in a stage ends the checkpoint by name")
    func deathOfTheOnlyOne() {
        var rig = Rig()
        let victim = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(.snapshotted, &rig, [victim])
        rig.die(victim, 10)
        #expect(rig.reply(command)?.error?.contains("process 10 (counter)") == true)
        #expect(rig.diskLog.last == "discard 1")
    }

    @Test("A worker that ends before everything stands still is simply no part of it")
    func deathBeforeQuiesced() {
        var rig = Rig()
        let (victim, other) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        #expect(rig.takeOrder(other)?.generation == 1)
        rig.report(other, .quiesced, 1)
        rig.feed(.disconnected(victim))
        #expect(rig.takeAll(other).isEmpty, "it may have exec'd")
        rig.feed(.processEnded(10))
        #expect(rig.take(other) == .go(StageGo(stage: .quiesced, generation: 1)))
        for stage in [Stage.snapshotted, .written] { rig.report(other, stage, 1) }
        #expect(rig.reply(command)?.checkpoint?.processes == 1)
    }

    @Test("The last process ending before it stands still makes the checkpoint fail with a sentence")
    func lastEndsBeforeQuiesced() {
        var rig = Rig()
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        rig.die(worker, 10)
        #expect(rig.reply(command)?.error?.contains("ended before it could be checkpointed") == true)
        #expect(rig.diskLog == ["prepare", "discard 1"])
    }

    @Test("A worker that execs while it should stop gets its order again")
    func execDuringQuiesce() {
        var rig = Rig()
        let (before, other) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        rig.report(other, .quiesced, 1)
        rig.feed(.disconnected(before))
        let after = rig.worker(10, name: "new")
        #expect(rig.takeOrder(after)?.path.hasSuffix("new_10.swiftcp") == true)
        _ = rig.takeAll(other)
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            rig.report(after, stage, 1)
            if stage != .quiesced { rig.report(other, stage, 1) }
        }
        #expect(rig.reply(command)?.checkpoint?.processes == 2)
    }

    @Test("The end of a process before its image is written: the checkpoint is made again, but not for ever")
    func deathWhileWriting() {
        var rig = Rig()
        let stays = rig.worker(9)
        let command = rig.request(Request(.checkpoint))
        _ = rig.takeAll(stays)
        for attempt in 1...6 as ClosedRange<UInt32> {
            let brief = rig.worker(9 + Int32(attempt))
            reachWaitingFor(.written, &rig, [stays, brief], attempt)
            rig.report(stays, .written, attempt)
            #expect(rig.reply(command) == nil)
            rig.die(brief, 9 + Int32(attempt))
            let messages = rig.takeAll(stays)
            guard case .abort(let text)? = messages.first, text.generation == attempt else {
                Issue.record("no ABORT")
                return
            }
            #expect(rig.diskLog.contains("discard \(attempt)"))
            guard attempt < 6 else { break }
            guard case .checkpoint(let order)? = messages.last else {
                Issue.record("no new order")
                return
            }
            #expect(order.generation == attempt + 1)
        }
        #expect(rig.reply(command)?.error?.contains("process 15 (counter) ended during the checkpoint") == true)
        _ = rig.request(Request(.checkpoint))
        #expect(rig.complete([stays]) == 7)
    }

    @Test("An image that was complete in the pause stays true when its process then dies; the commit makes it durable")
    func deathAfterSealing() {
        var rig = Rig()
        let (brief, stays) = (rig.worker(10, name: "brief"), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(.snapshotted, &rig, [brief, stays])
        for worker in [brief, stays] { rig.report(worker, .snapshotted, 1, checksum: 5) }
        rig.feed(.disconnected(brief))
        _ = rig.worker(10, name: "exec")
        rig.report(stays, .written, 1)
        #expect(rig.reply(command)?.checkpoint?.processes == 2)
        #expect(rig.diskLog.contains("commit, syncing brief_10.swiftcp"))
        #expect(rig.manifests.first?.processes.map(\.metadataChecksum) == [5, 7])
    }

    @Test("An image that is written stays true when its process then dies")
    func deathAfterWritten() {
        var rig = Rig()
        let (victim, other) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(.written, &rig, [victim, other])
        rig.report(victim, .written, 1)
        rig.die(victim, 10)
        rig.report(other, .written, 1)
        #expect(rig.take(other) == .go(StageGo(stage: .committed, generation: 1, processes: 2)))
        #expect(rig.reply(command)?.checkpoint?.processes == 2)
    }

    @Test(
        "FAILED in any stage: the worker's own words, ABORT for the others",
        arguments: [Stage.quiesced, .surveyed, .snapshotted, .written])
    func failure(stage: Stage) {
        var rig = Rig()
        let (bad, good) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(stage, &rig, [bad, good])
        rig.feed(.message(bad, .failed(Text(error: ENOSPC, generation: 1, text: "cannot write /images/x: no space"))))
        expectAborted(&rig, good, 1)
        #expect(rig.reply(command)?.error == "process 10 (counter): cannot write /images/x: no space")
        #expect(rig.coordinator.living.first?.last?.ok == false)
        // Late messages of the checkpoint that was given up change nothing.
        rig.report(good, stage, 1)
        rig.feed(.message(good, .failed(Text(error: EIO, generation: 1, text: "late"))))
        #expect(rig.coordinator.living.first?.checkpoint == nil)
        _ = rig.takeAll(bad)
        let again = rig.request(Request(.checkpoint))
        rig.report(good, stage, 1)
        #expect(rig.complete([bad, good]) == 2)
        #expect(rig.reply(again)?.status == "ok")
    }

    @Test(
        "A stage's time limit gives the checkpoint up and names who held it up", arguments: [Stage.quiesced, .surveyed])
    func stageLimit(stage: Stage) {
        var rig = Rig {
            $0.stageLimit = 5
            $0.quiesceLimit = 2
        }
        let (slow, fast) = (rig.worker(10, name: "slow"), rig.worker(11, name: "fast"))
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(stage, &rig, [slow, fast])
        rig.report(fast, stage, 1)
        rig.pass(4)
        #expect(rig.reply(command) == nil)
        rig.pass(4)
        let error = rig.reply(command)?.error ?? ""
        #expect(error.contains("process 10 (slow)") && !error.contains("fast"))
        expectAborted(&rig, fast, 1)
        expectAborted(&rig, slow, 1)
    }

    @Test(
        "Writing may take longer than the limit as long as the images grow", arguments: [Stage.snapshotted, .written])
    func slowWriting(stage: Stage) {
        var rig = Rig { $0.stageLimit = 5 }
        rig.measures = [100, 200, 200]
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        reachWaitingFor(stage, &rig, [worker])
        rig.pass(11)
        #expect(rig.reply(command) == nil)
        rig.pass(5)
        #expect(rig.reply(command)?.error?.contains("within 5 s") == true)
    }

    @Test("A stage out of order gives the checkpoint up")
    func outOfOrder() {
        for wrong in [Stage.snapshotted, .committed, .running] {
            var rig = Rig()
            let worker = rig.worker(10)
            let command = rig.request(Request(.checkpoint))
            rig.report(worker, wrong, 1)
            #expect(rig.reply(command)?.error?.contains("out of order") == true)
        }
        var rig = Rig()
        let (twice, other) = (rig.worker(10), rig.worker(11))
        let command = rig.request(Request(.checkpoint))
        rig.report(twice, .quiesced, 1)
        rig.report(twice, .quiesced, 1)
        #expect(rig.reply(command)?.status == "error")
        _ = other
    }

    @Test("Two thousand workers", .timeLimit(.minutes(1)))
    func manyWorkers() {
        var rig = Rig { $0.preparers = 2000 }
        let workers = (1...2000).map { rig.worker(Int32($0)) }
        let command = rig.request(Request(.checkpoint))
        #expect(rig.complete(workers) == 1)
        #expect(rig.reply(command)?.checkpoint?.processes == 2000)
    }

    @Test("A disk that refuses gives one sentence; nobody is stopped, or everybody is let go")
    func diskErrors() {
        for operation in ["prepare", "commit"] {
            var rig = Rig()
            rig.diskFailure = (operation, ENOSPC, "cannot \(operation): No space left on device")
            let worker = rig.worker(10)
            let command = rig.request(Request(.checkpoint))
            if operation == "commit" {
                reachWaitingFor(.written, &rig, [worker])
                rig.report(worker, .written, 1)
                expectAborted(&rig, worker, 1)
                #expect(rig.diskLog == ["prepare", "commit", "discard 1"])
            } else {
                #expect(
                    rig.takeAll(worker) == [.abort(Text(error: ENOSPC, generation: 0, text: ""))]
                        || rig.takeAll(worker).isEmpty)
            }
            #expect(rig.reply(command)?.error == "cannot \(operation): No space left on device")
            let again = rig.request(Request(.checkpoint))
            #expect(rig.complete([worker]) != nil)
            #expect(rig.reply(again)?.status == "ok")
        }
    }

    @Test("Old generations that cannot be removed are no failure of the new one")
    func pruneFails() {
        var rig = Rig()
        rig.diskFailure = ("prune", EACCES, "cannot remove")
        let worker = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        rig.complete([worker])
        #expect(rig.reply(command)?.status == "ok")
    }

    @Test("Newer generations in the folder than expected are never written over")
    func fencing() {
        var rig = Rig()
        rig.folders["one"] = 41
        _ = rig.launch(pid: 10) { $0.generation = 7 }
        let worker = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        #expect(rig.complete([worker]) == 42)
    }

    @Test("HELLO during a checkpoint: part of it before anybody stands still, else of the next")
    func helloDuringCheckpoint() {
        var rig = Rig()
        let first = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        let early = rig.worker(11)
        #expect(rig.takeOrder(early)?.generation == 1)
        _ = rig.takeOrder(first)
        for worker in [first, early] { rig.report(worker, .quiesced, 1) }
        let late = rig.worker(12)
        #expect(rig.takeOrder(late) == nil)
        for stage in [Stage.surveyed, .snapshotted, .written] {
            for worker in [first, early] { rig.report(worker, stage, 1) }
        }
        #expect(rig.reply(command)?.checkpoint?.processes == 2)
        for worker in [first, early] { _ = rig.takeAll(worker) }
        _ = rig.request(Request(.checkpoint))
        #expect(rig.complete([first, early, late]) == 2)
    }

    @Test("Two computations' checkpoints go their own ways at the same time")
    func twoComputations() {
        var rig = Rig()
        let (one, two) = (rig.worker(10, in: "one"), rig.worker(11, in: "two"))
        let command = rig.request(Request(.checkpoint))
        #expect(rig.takeOrder(one)?.path.contains("_one/") == true)
        #expect(rig.takeOrder(two)?.path.contains("_two/") == true)
        rig.report(one, .quiesced, 1)
        #expect(rig.take(one) == .go(StageGo(stage: .quiesced, generation: 1)))
        #expect(rig.takeAll(two).isEmpty)
        rig.feed(.message(two, .failed(Text(error: EIO, generation: 1, text: "broken"))))
        for stage in [Stage.snapshotted, .written] { rig.report(one, stage, 1) }
        let reply = rig.reply(command)
        #expect(reply?.status == "error")
        #expect(reply?.error == "process 11 (counter): broken")
        #expect(reply?.checkpoint?.path?.contains("_one/") == true)
        #expect(reply?.computations.map(\.error) == ["process 11 (counter): broken", nil])
    }

    @Test("Requests during a checkpoint queue, and one further checkpoint serves them all")
    func queue() {
        var rig = Rig()
        let worker = rig.worker(10)
        let first = rig.request(Request(.checkpoint))
        let (second, third) = (rig.request(Request(.checkpoint)), rig.request(Request(.checkpoint)))
        #expect(rig.complete([worker]) == 1)
        #expect(rig.reply(first)?.checkpoint?.generation == 1)
        #expect(rig.reply(second) == nil && rig.reply(third) == nil)
        #expect(rig.complete([worker]) == 2)
        #expect(rig.reply(second)?.checkpoint?.generation == 2)
        #expect(rig.reply(third)?.checkpoint?.generation == 2)
        #expect(rig.takeAll(worker).isEmpty)
    }

    @Test("The program's own question is answered when the generation is complete, or with the reason")
    func ask() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.feed(.message(worker, .ask(Ask(kind: .checkpoint))))
        rig.complete([worker])
        #expect(rig.take(worker) == .answer(Text(error: 0, generation: 1)))
        rig.diskFailure = ("prepare", EROFS, "read-only")
        rig.feed(.message(worker, .ask(Ask(kind: .checkpoint))))
        let messages = rig.takeAll(worker)
        #expect(messages.last == .answer(Text(error: EROFS, generation: 0, text: "read-only")))
    }

    @Test("A checkpoint that is followed by the end keeps the threads parked, then KILL comes")
    func askAndEnd() {
        var rig = Rig()
        let workers = [rig.worker(10), rig.worker(11)]
        for worker in workers { rig.feed(.message(worker, .ask(Ask(kind: .checkpointAndEnd, signal: SIGTERM)))) }
        let orders = workers.compactMap { rig.takeOrder($0) }
        #expect(orders.allSatisfy { $0.flags & UInt32(SCP_CHECKPOINT_STAY_STOPPED.rawValue) != 0 })
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            for worker in workers { rig.report(worker, stage, 1) }
        }
        for worker in workers {
            let committed = Message.go(StageGo(stage: .committed, generation: 1, processes: 2))
            #expect(Array(rig.takeAll(worker).suffix(2)) == [committed, .kill])
        }
        #expect(
            rig.diskLog == ["prepare", "assign", "commit", "prune 1 2"], "the second question got the same checkpoint")
    }

    @Test("A failed checkpoint before the end is answered: the program lives")
    func askAndEndFails() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.feed(.message(worker, .ask(Ask(kind: .checkpointAndEnd, signal: SIGINT))))
        rig.feed(.message(worker, .failed(Text(error: ENOTSUP, generation: 1, text: "io_uring"))))
        let messages = rig.takeAll(worker)
        #expect(messages.last == .answer(Text(error: ENOTSUP, generation: 1, text: "process 10 (counter): io_uring")))
        #expect(!messages.contains(.kill))
    }

    // MARK: Helpers

    /// Brings the checkpoint to where it waits for this stage.
    private func reachWaitingFor(
        _ stage: Stage, _ rig: inout Rig, _ workers: [ConnectionID], _ generation: UInt32 = 1
    ) {
        let stages = Stage.allCases.filter { $0 > .running && $0 < stage && ($0 != .surveyed || workers.count > 1) }
        for done in stages {
            for worker in workers { rig.report(worker, done, generation) }
        }
        for worker in workers { _ = rig.takeAll(worker) }
    }

    private func expectAborted(_ rig: inout Rig, _ worker: ConnectionID, _ generation: UInt32) {
        let aborts = rig.takeAll(worker).compactMap { message -> UInt32? in
            if case .abort(let text) = message { text.generation } else { nil }
        }
        #expect(aborts == [generation])
    }
}
