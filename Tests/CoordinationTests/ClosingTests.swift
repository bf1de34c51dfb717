import Glibc
import SystemCalls
import Testing
import Wire

@testable import Coordination

@Suite("Who is in a checkpoint")
struct ClosingTests {
    private func stray(_ pid: Int32, parent: Int32 = 10, change: (inout Stray) -> Void = { _ in }) -> Stray {
        var stray = Stray(pid: pid, parent: parent, name: "stray", isMarked: true)
        change(&stray)
        return stray
    }

    private func go(_ stage: Stage, _ count: UInt32, _ generation: UInt32 = 1) -> Message {
        .go(StageGo(stage: stage, generation: generation, processes: count))
    }

    @Test("A process that never had a child is not looked for others; any family is")
    func whenToLook() {
        for hasForked in [false, true] {
            var rig = Rig()
            let worker = rig.worker(10)
            _ = rig.request(Request(.checkpoint))
            _ = rig.takeOrder(worker)
            rig.tellChildren(worker, [], hasForked: hasForked, 1)
            rig.report(worker, .quiesced, 1)
            #expect(rig.take(worker) == go(.quiesced, 1))
            #expect(rig.queries.count == (hasForked ? 1 : 0))
        }
        var rig = Rig()
        let workers = [rig.worker(10), rig.worker(11)]
        _ = rig.worker(20, in: "two")
        _ = rig.request(Request(.checkpoint, computation: "one"))
        rig.complete(workers)
        #expect(rig.queries == [ScanQuery(computation: "one", members: [10, 11], others: [20])])
    }

    @Test("A child that is listed before its HELLO keeps the barrier closed until it stands still")
    func childBeforeHello() {
        var rig = Rig()
        let parent = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(parent)
        rig.scans = [[stray(11)]]
        rig.tellChildren(parent, [11], zombies: [9], 1)
        rig.report(parent, .quiesced, 1)
        #expect(rig.takeAll(parent).isEmpty)
        #expect(rig.watched.contains(11))
        let child = rig.worker(11, parent: 10)
        #expect(rig.takeOrder(child)?.generation == 1)
        rig.tellChildren(child, [], 1)
        rig.report(child, .quiesced, 1)
        #expect(rig.take(parent) == go(.quiesced, 2))
        #expect(rig.take(child) == go(.quiesced, 2))
        for stage in [Stage.surveyed, .snapshotted, .written] {
            for worker in [parent, child] { rig.report(worker, stage, 1) }
        }
        #expect(rig.reply(command)?.checkpoint?.processes == 2)
        #expect(rig.manifests.first?.processes.map(\.pid) == [10, 11])
        #expect(rig.manifests.first?.processes.map(\.parent) == [1, 10])
    }

    @Test("A child that is listed, but has ended by then, is waited for by nobody")
    func childEnded() {
        var rig = Rig()
        let parent = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(parent)
        rig.tellChildren(parent, [11], 1)
        rig.report(parent, .quiesced, 1)
        #expect(rig.take(parent) == go(.quiesced, 1))
        #expect(rig.queries.first?.isThorough == true)
    }

    @Test("An orphan that only the look finds is part of it once it has come", arguments: [true, false])
    func orphan(comes: Bool) {
        var rig = Rig()
        let workers = [rig.worker(10), rig.worker(12)]
        let command = rig.request(Request(.checkpoint))
        for worker in workers { _ = rig.takeOrder(worker) }
        rig.scans = [[stray(11, parent: 1)], [stray(11, parent: 1)]]
        for worker in workers { rig.report(worker, .quiesced, 1) }
        #expect(workers.allSatisfy { rig.takeAll($0).isEmpty })
        rig.pass(0.0025)  // the second look, by the clock
        #expect(rig.queries.count == 2 && workers.allSatisfy { rig.takeAll($0).isEmpty })
        if comes {
            let orphan = rig.worker(11)
            _ = rig.takeOrder(orphan)
            rig.report(orphan, .quiesced, 1)
            #expect(rig.take(orphan) == go(.quiesced, 3))
        } else {
            rig.feed(.processEnded(11))
            #expect(rig.take(workers[0]) == go(.quiesced, 2))
        }
        #expect(rig.reply(command) == nil)
        #expect(rig.queries.count == 3)
    }

    @Test("An exec into a program that will never connect fails by name within a second; other execs are waited for")
    func execIntoStatic() {
        for (obstacle, words) in [(Stray.Obstacle.staticallyLinked, "statically linked"), (.otherUser, "another user")]
        {
            var rig = Rig()
            let (first, second) = (rig.worker(10), rig.worker(11, name: "sh"))
            rig.feed(.disconnected(second))  // its process lives on: an exec
            let command = rig.request(Request(.checkpoint))
            rig.pass(5)
            #expect(rig.reply(command) == nil)
            rig.inspections = [stray(11) { $0.obstacle = obstacle }]
            rig.pass(1.1)
            let error = rig.reply(command)?.error ?? ""
            #expect(error.hasPrefix("process 11 (sh) has replaced its program by stray") && error.contains(words))
            #expect(rig.takeAll(first).isEmpty && rig.diskLog.isEmpty)
            // At once, when it is long known.
            let again = rig.request(Request(.checkpoint))
            rig.pass(0.1)
            #expect(rig.reply(again)?.error?.contains(words) == true)
            // When it has ended, the next one is made.
            rig.feed(.processEnded(11))
            _ = rig.request(Request(.checkpoint))
            #expect(rig.complete([first]) == 1)
        }
    }

    @Test("An exec while everybody is being stopped is looked at too")
    func execWhileStopping() {
        var rig = Rig()
        let (first, second) = (rig.worker(10), rig.worker(11, name: "sh"))
        let command = rig.request(Request(.checkpoint))
        _ = (rig.takeOrder(first), rig.takeOrder(second))
        rig.feed(.disconnected(second))
        rig.report(first, .quiesced, 1)
        rig.inspections = [stray(11) { $0.obstacle = .staticallyLinked }]
        rig.pass(0.9)
        #expect(rig.reply(command) == nil)
        rig.pass(0.2)
        #expect(rig.reply(command)?.error?.contains("statically linked") == true)
        #expect(rig.diskLog.last == "discard 1")
    }

    @Test("A process without our library makes it fail by name, kind and parent; everything runs on")
    func withoutLibrary() {
        let kinds: [(Stray.Obstacle?, String, Double)] = [
            (.staticallyLinked, "statically linked", 1), (.otherUser, "another user", 1),
            (nil, "statically linked, setuid or started with a cleaned environment", 2),
        ]
        for (obstacle, words, limit) in kinds {
            var rig = Rig { $0.quiesceLimit = 2 }
            let parent = rig.worker(10, name: "sh")
            let command = rig.request(Request(.checkpoint))
            _ = rig.takeOrder(parent)
            rig.scans = [[Stray]](repeating: [stray(11) { $0.obstacle = obstacle }], count: 500)
            rig.tellChildren(parent, [11], 1)
            rig.report(parent, .quiesced, 1)
            rig.pass(limit - 0.1)
            #expect(rig.reply(command) == nil)
            rig.pass(0.2)
            let error = rig.reply(command)?.error ?? ""
            #expect(error.hasPrefix("process 11 (stray), a child of process 10 (sh), belongs to the computation"))
            #expect(error.contains(words) && error.contains("the program runs on"))
            let text = rig.takeAll(parent).compactMap { if case .abort(let text) = $0 { text } else { nil } }
            #expect(text.map(\.error) == [ENOTSUP])
            #expect(rig.diskLog.last == "discard 1")
            // When it has gone, the next one is made.
            rig.scans = []
            _ = rig.request(Request(.checkpoint))
            #expect(rig.complete([parent]) == 2)
        }
    }

    @Test("The looks get rarer, and one that finds nobody ends the waiting")
    func pace() {
        var rig = Rig()
        let parent = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(parent)
        rig.scans = [[Stray]](repeating: [stray(11)], count: 10)
        rig.tellChildren(parent, [11], 1)
        rig.report(parent, .quiesced, 1)
        rig.pass(0.3)
        #expect(rig.queries.count > 5 && rig.queries.count <= 11)
        rig.pass(1)
        #expect(rig.take(parent) == go(.quiesced, 1))
        #expect(rig.queries.count == 11)
        rig.pass(5)
        #expect(rig.queries.count == 11, "no further look is due")
    }

    @Test("Who is in the middle of an exec or of its end is looked at again, and in the end let be")
    func undecided() {
        var rig = Rig()
        let parent = rig.worker(10)
        let command = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(parent)
        let between = stray(11, parent: 1) {
            $0.isMarked = false
            $0.isUndecided = true
        }
        rig.scans = [[Stray]](repeating: [between], count: 500)
        rig.tellChildren(parent, [], 1)
        rig.report(parent, .quiesced, 1)
        rig.pass(0.9)
        #expect(rig.takeAll(parent).isEmpty)
        rig.pass(0.3)
        #expect(rig.take(parent) == go(.quiesced, 1))
        #expect(rig.reply(command) == nil)
    }

    @Test("A newcomer while others are found missing: the looks begin again when he stands still")
    func newcomerDuringLooks() {
        var rig = Rig()
        let parent = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        _ = rig.takeOrder(parent)
        rig.scans = [[stray(11), stray(12)], [stray(12)]]
        rig.tellChildren(parent, [11, 12], 1)
        rig.report(parent, .quiesced, 1)
        let first = rig.worker(11)
        rig.pass(0.5)
        #expect(rig.queries.count == 1, "not while somebody is still being stopped")
        rig.report(first, .quiesced, 1)
        #expect(rig.queries.count == 2)
        let second = rig.worker(12)
        rig.report(second, .quiesced, 1)
        #expect(rig.takeAll(parent) == [go(.quiesced, 3)])
    }

    @Test("An exec in the barrier is waited for, and no look is made before it has come")
    func execInBarrier() {
        var rig = Rig()
        let (parent, child) = (rig.worker(10), rig.worker(11))
        _ = rig.request(Request(.checkpoint))
        rig.tellChildren(parent, [11], 1)
        rig.report(parent, .quiesced, 1)
        rig.report(child, .quiesced, 1 + 1)  // late, of nothing
        rig.feed(.disconnected(child))
        #expect(rig.queries.isEmpty)
        let after = rig.worker(11, name: "new")
        _ = rig.takeAll(parent)
        rig.report(after, .quiesced, 1)
        #expect(rig.queries.count == 1)
        #expect(rig.take(parent) == go(.quiesced, 2))
    }

    @Test("A program that always has an exec under way is checkpointed all the same")
    func execStorm() {
        var rig = Rig()
        let parent = rig.worker(10)
        let busy = rig.worker(11)
        rig.feed(.disconnected(busy))
        let command = rig.request(Request(.checkpoint))
        #expect(rig.takeOrder(parent) == nil, "this one is waited for")
        let other = rig.worker(12)
        rig.feed(.disconnected(other))
        let back = rig.worker(11)
        #expect(rig.takeOrder(parent) != nil, "the later one is waited for when the rest stands still")
        #expect(rig.takeOrder(back) != nil)
        rig.report(parent, .quiesced, 1)
        rig.report(back, .quiesced, 1)
        #expect(rig.takeAll(parent).isEmpty)
        rig.feed(.processEnded(12))
        #expect(rig.take(parent) == go(.quiesced, 2))
        #expect(rig.reply(command) == nil)
    }

    @Test("A process that is killed while things are compared makes the checkpoint fail by name")
    func deathWhileNumbering() {
        var rig = Rig()
        let workers = [rig.worker(10), rig.worker(11)]
        let command = rig.request(Request(.checkpoint))
        for worker in workers {
            _ = rig.takeOrder(worker)
            rig.report(worker, .quiesced, 1)
        }
        rig.diskFailure = ("assign", ESRCH, "cannot compare descriptor 3 of process 10: No such process")
        for worker in workers { rig.report(worker, .surveyed, 1) }
        #expect(rig.reply(command)?.error?.contains("cannot compare descriptor 3") == true)
        #expect(rig.diskLog == ["prepare", "assign", "discard 1"])
    }

    @Test("Surveys are answered before the barrier opens: one identity, one owner, in the order of own pids")
    func surveys() {
        var rig = Rig()
        let workers = [rig.worker(12), rig.worker(10)]
        rig.descriptions = [10: [3: 1, 4: 2], 12: [5: 1]]
        _ = rig.request(Request(.checkpoint))
        for worker in workers {
            _ = rig.takeOrder(worker)
            rig.report(worker, .quiesced, 1)
            _ = rig.take(worker)
        }
        _ = workers.map { rig.takeAll($0) }
        func survey(_ connection: ConnectionID, _ numbers: [Int32]) {
            let entries = numbers.map { SurveyEntry(description: $0, device: 1, inode: 7) }
            rig.feed(.message(connection, .survey(Survey(generation: 1, entries: entries))))
            rig.report(connection, .surveyed, 1)
        }
        survey(workers[0], [5])
        #expect(rig.takeAll(workers[0]).isEmpty)
        survey(workers[1], [3, 4])
        let first = rig.takeAll(workers[1])
        let second = rig.takeAll(workers[0])
        let shared = Assigned(identity: 1, isOwner: true, isShared: true)
        let own = Assigned(identity: 2, isOwner: true, isShared: false)
        let borrowed = Assigned(identity: 1, isOwner: false, isShared: true)
        #expect(first == [.assignment(Assignment(generation: 1, entries: [shared, own])), go(.surveyed, 2)])
        #expect(second == [.assignment(Assignment(generation: 1, entries: [borrowed])), go(.surveyed, 2)])
    }

    @Test("The manifest names the root as long as it is there, over exec and over coordinators")
    func root() {
        var rig = Rig()
        _ = rig.launch(pid: 10)
        let shell = rig.worker(10, name: "sh")
        let child = rig.worker(11, parent: 10)
        _ = rig.request(Request(.checkpoint))
        rig.complete([shell, child])
        #expect(rig.manifests.last?.root == 10)
        #expect(rig.stored["one"]?.root == 10)
        rig.feed(.disconnected(shell))
        let after = rig.worker(10, name: "other")
        _ = rig.request(Request(.checkpoint))
        rig.complete([child, after])
        #expect(rig.manifests.last?.root == 10)
        // Another coordinator, then a restart of what it made.
        var again = Rig()
        again.stored = rig.stored
        let both = [again.worker(11, parent: 10), again.worker(10)]
        _ = again.request(Request(.checkpoint))
        again.complete(both)
        #expect(again.manifests.last?.root == 10)
        // The root ends: no other process takes its place, not even by its pid.
        again.die(both[1], 10)
        let late = again.worker(10, parent: 11)
        _ = again.request(Request(.checkpoint))
        again.complete([both[0], late])
        #expect(again.manifests.last?.root == nil)
    }

    @Test("A restart says who the root is, or the folder does")
    func rootAfterRestart() {
        for isTold in [true, false] {
            var rig = Rig()
            _ = rig.launch(pid: 10)
            let before = [rig.worker(10), rig.worker(11, parent: 10)]
            _ = rig.request(Request(.checkpoint))
            rig.complete(before)
            rig.die(before[0], 10)
            rig.die(before[1], 11)
            _ = rig.launch(pid: 50) {
                $0.restart = true
                $0.pid = isTold ? 11 : 0
                $0.processes = 2
                $0.generation = 1
            }
            let waiting = rig.request(Request(.checkpoint))
            let first = rig.worker(10, restarted: true)
            #expect(rig.takeAll(first).isEmpty, "a checkpoint waits until all of them are there")
            let second = rig.worker(11, restarted: true, parent: 10)
            #expect(rig.complete([first, second]) == 2)
            #expect(rig.reply(waiting)?.status == "ok")
            #expect(rig.manifests.last?.root == (isTold ? 11 : 10))
        }
    }

    @Test("The end: parents first, and who was born too late to hear of it is found and ended too")
    func end() {
        var rig = Rig { $0.exitOnLast = true }
        let workers = [rig.worker(12, parent: 11), rig.worker(10), rig.worker(11, parent: 10)]
        let command = rig.request(Request(.kill))
        #expect(rig.destroyed == [10, 11, 12])
        #expect(workers.allSatisfy { rig.takeAll($0) == [.kill] })
        rig.scans = [[stray(13, parent: 1), stray(14, parent: 1) { $0.isMarked = false }]]
        for (worker, pid) in zip(workers, [12, 10, 11] as [Int32]) { rig.die(worker, pid) }
        #expect(rig.destroyed == [10, 11, 12, 13], "and nobody else")
        #expect(rig.reply(command) == nil && rig.exitStatus == nil)
        rig.feed(.processEnded(13))
        #expect(rig.reply(command)?.status == "ok")
        #expect(rig.exitStatus == 0)
    }

    @Test("A thousand processes that share everything", .timeLimit(.minutes(1)))
    func many() {
        var rig = Rig()
        let workers = (1...1000).map { rig.worker(Int32($0), parent: UInt32($0 - 1)) }
        var same: [Int32: Int] = [:]
        for number in 0..<10 { same[Int32(number)] = number }
        for pid in 1...1000 { rig.descriptions[Int32(pid)] = same }
        let command = rig.request(Request(.checkpoint))
        for worker in workers {
            rig.tellChildren(worker, [], 1)
            rig.report(worker, .quiesced, 1)
        }
        let entries = (0..<10).map { SurveyEntry(description: $0, device: 1, inode: UInt64($0)) }
        for worker in workers {
            rig.feed(.message(worker, .survey(Survey(generation: 1, entries: entries))))
            rig.report(worker, .surveyed, 1)
        }
        for stage in [Stage.snapshotted, .written] {
            for worker in workers { rig.report(worker, stage, 1) }
        }
        #expect(rig.reply(command)?.checkpoint?.processes == 1000)
        _ = rig.request(Request(.kill))
        #expect(rig.destroyed == (1...1000).map { Int32($0) })
    }
}
