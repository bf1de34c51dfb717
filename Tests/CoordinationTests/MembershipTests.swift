import Glibc
import Testing
import Wire

@testable import Coordination

@Suite("Processes come and go")
struct MembershipTests {
    @Test("LAUNCH makes a computation of its own, with the id that was wanted")
    func launchMakesComputation() {
        var rig = Rig()
        #expect(rig.launch(pid: 10, computation: "one") == Launched(computation: "one"))
        #expect(rig.launch(pid: 11, computation: "two") == Launched(computation: "two"))
        #expect(rig.launch(pid: 12, computation: "") == Launched(computation: "made3"))
        #expect(rig.watched == [10, 11, 12])
        #expect(rig.coordinator.living.map(\.id) == ["one", "two", "made3"])
    }

    @Test("An id that runs already, is no id, or a relative folder is refused")
    func launchRefusals() {
        var rig = Rig()
        _ = rig.worker(10)
        #expect(rig.launch(pid: 11, computation: "one")?.error == EEXIST)
        #expect(rig.launch(pid: 11, computation: "../evil")?.error == EINVAL)
        #expect(rig.launch(pid: 11, computation: "two") { $0.checkpointDirectory = "images" }?.error == EINVAL)
        #expect(rig.launch(pid: 11, computation: "two") { $0.generation = .max }?.error == EINVAL)
        #expect(rig.coordinator.living.count == 1)
    }

    @Test("An id whose processes have gone, or have been told to, is asked to be tried again until it is free")
    func launchWhileEnding() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.feed(.disconnected(worker))
        #expect(rig.launch(pid: 11, computation: "one")?.error == EAGAIN)
        rig.feed(.processEnded(10))
        #expect(rig.launch(pid: 11, computation: "one") == Launched(computation: "one"))
    }

    @Test("Joining needs exactly one computation, or its name")
    func join() {
        var rig = Rig()
        #expect(rig.launch(pid: 10, computation: "") { $0.join = true }?.error == ESRCH)
        _ = rig.worker(20, in: "one")
        #expect(rig.launch(pid: 10, computation: "") { $0.join = true } == Launched(computation: "one"))
        _ = rig.worker(21, in: "two")
        let refused = rig.launch(pid: 11, computation: "") { $0.join = true }
        #expect(refused?.error == EEXIST)
        #expect(refused?.text.contains("one, two") == true)
        #expect(rig.launch(pid: 11, computation: "two") { $0.join = true } == Launched(computation: "two"))
    }

    @Test("A worker of an unknown computation brings it along: the coordinator was restarted")
    func reconnectedWorker() {
        var rig = Rig()
        let worker = rig.worker(10, in: "lost")
        #expect(rig.coordinator.computations["lost"]?.checkpointDirectory == "/images")
        _ = rig.request(Request(.checkpoint))
        rig.folders["lost"] = 0
        #expect(rig.complete([worker]) == 1)
    }

    @Test("A coordinator that is started again goes on with the settings of the one that died")
    func settingsSurvive() {
        var rig = Rig { $0.interval = 0 }
        _ = rig.launch(pid: 10) {
            $0.keep = 5
            $0.interval = 7_000_000
            $0.name = "wrapper"
        }
        let worker = rig.worker(10)
        _ = rig.request(Request(.checkpoint))
        rig.complete([worker])
        var after = Rig()
        after.stored = rig.stored
        after.folders = rig.folders
        let again = after.worker(10)
        let computation = after.coordinator.living.first
        #expect(computation?.name == "wrapper")
        #expect(computation?.command == ["./counter", "10"])
        #expect(computation?.keep == 5)
        #expect(computation?.interval == 7)
        #expect(computation?.incarnation == rig.stored["one"]?.incarnation)
        after.pass(7.5)
        #expect(after.complete([again]) == 2)
        #expect(after.diskLog.last == "prune 2 5")
    }

    @Test("Hostile HELLOs are refused by name and closed", arguments: ["", "a/b", ".hidden", "a b"])
    func hostileComputation(id: String) {
        var rig = Rig()
        let worker = rig.worker(10, in: id, takesWelcome: false)
        guard case .welcome(let welcome)? = rig.take(worker) else {
            Issue.record("no WELCOME")
            return
        }
        #expect(welcome.error == UInt32(EINVAL))
        #expect(!welcome.text.isEmpty)
        #expect(rig.closed.contains(worker))
        #expect(rig.coordinator.living.isEmpty)
    }

    @Test("A second HELLO on a connection, and messages that a coordinator sends, close it")
    func wrongMessages() {
        var rig = Rig()
        let worker = rig.worker(10)
        rig.feed(
            .message(
                worker, .hello(Hello(ownPid: 10, name: "x", computation: "one", checkpointDirectory: "/images"))))
        #expect(rig.closed.contains(worker))
        let stranger = rig.connect()
        rig.feed(.message(stranger, .kill))
        #expect(rig.closed.contains(stranger))
        let early = rig.connect()
        rig.feed(.message(early, .stage(StageReport(stage: .quiesced, generation: 1))))
        #expect(rig.closed.contains(early))
    }

    @Test("Another user's connection is closed at once, root's is not")
    func foreignUser() {
        var rig = Rig()
        let foreigner = rig.connect(user: 1001)
        #expect(rig.closed.contains(foreigner))
        rig.feed(.message(foreigner, .request(Request(.kill))))
        #expect(rig.replies.isEmpty)
        #expect(!rig.closed.contains(rig.connect(user: 0)))
    }

    @Test("Another protocol version is told so in the words of its question")
    func otherVersion() {
        var rig = Rig()
        let error = { WireError(.version($0), "protocol version 9, where 1 is spoken here") }
        let worker = rig.connect()
        rig.feed(.malformed(worker, error(1)))
        guard case .welcome(let welcome)? = rig.take(worker) else {
            Issue.record("no WELCOME")
            return
        }
        #expect(welcome.error == UInt32(EPROTO))
        #expect(welcome.text.contains("version 9"))
        let launcher = rig.connect()
        rig.feed(.malformed(launcher, error(16)))
        guard case .launched(let launched)? = rig.take(launcher) else {
            Issue.record("no LAUNCHED")
            return
        }
        #expect(launched.error == EPROTO)
        let command = rig.connect()
        rig.feed(.malformed(command, error(18)))
        #expect(rig.reply(command)?.status == "error")
        #expect(rig.closed == [worker, launcher, command])
    }

    @Test("Garbage closes that connection alone")
    func garbage() {
        var rig = Rig()
        let good = rig.worker(10)
        let bad = rig.worker(11)
        rig.feed(.malformed(bad, WireError(.malformed, "garbage")))
        rig.feed(.processEnded(11))
        #expect(rig.closed == [bad])
        #expect(rig.coordinator.living.first?.workersInOrder.map(\.connection) == [good])
    }

    @Test("A connection that says nothing is closed after its limit")
    func silence() {
        var rig = Rig { $0.greetingLimit = 10 }
        let silent = rig.connect()
        rig.pass(9)
        #expect(!rig.closed.contains(silent))
        rig.pass(2)
        #expect(rig.closed.contains(silent))
        #expect(rig.coordinator.nextDeadline == nil)
    }

    @Test("A process that execs stays in its computation, seen in either order")
    func exec() {
        for newFirst in [false, true] {
            var rig = Rig { $0.exitOnLast = true }
            _ = rig.launch(pid: 10) { $0.keep = 5 }
            let before = rig.worker(10)
            if !newFirst { rig.feed(.disconnected(before)) }
            let after = rig.worker(10, name: "other")
            if newFirst { rig.feed(.disconnected(before)) }
            #expect(rig.exitStatus == nil)
            #expect(rig.coordinator.living.first?.workersInOrder.map(\.connection) == [after])
            #expect(rig.coordinator.living.first?.announced.isEmpty == true)
            #expect(rig.coordinator.living.first?.keep == 5)
            rig.die(after, 10)
            #expect(rig.exitStatus == 0)
        }
    }

    @Test("Two processes that both see themselves as the same pid are not taken for one")
    func samePid() {
        var rig = Rig()
        _ = rig.worker(10)
        let other = rig.connect(pid: 99)
        rig.feed(
            .message(
                other, .hello(Hello(ownPid: 10, name: "twin", computation: "one", checkpointDirectory: "/images"))))
        guard case .welcome(let welcome)? = rig.take(other) else {
            Issue.record("no WELCOME")
            return
        }
        #expect(welcome.error == UInt32(EEXIST))
        #expect(rig.coordinator.living.first?.workers.count == 1)
    }

    @Test("With exit-on-last the coordinator ends with the last process, not before the first, not under a newcomer")
    func exitOnLast() {
        var rig = Rig { $0.exitOnLast = true }
        rig.pass(30)
        #expect(rig.exitStatus == nil)
        let worker = rig.worker(10)
        let newcomer = rig.connect()
        rig.die(worker, 10)
        #expect(rig.exitStatus == nil)
        rig.feed(.disconnected(newcomer))
        #expect(rig.exitStatus == 0)
    }

    @Test("With exit-on-last a coordinator to whom nobody comes ends too")
    func exitWithoutFirst() {
        var rig = Rig { $0.exitOnLast = true }
        rig.pass(59)
        #expect(rig.exitStatus == nil)
        rig.pass(2)
        #expect(rig.exitStatus == 0)
    }

    @Test("The stale limit counts from the last process")
    func staleTimeout() {
        var rig = Rig { $0.staleTimeout = 100 }
        rig.pass(90)
        let worker = rig.worker(10)
        rig.pass(1000)
        #expect(rig.exitStatus == nil)
        rig.die(worker, 10)
        rig.pass(99)
        #expect(rig.exitStatus == nil)
        rig.pass(2)
        #expect(rig.exitStatus == 0)
    }

    @Test("A restart is announced until all its processes are there, or swiftcp_restart has gone")
    func restart() {
        var rig = Rig()
        #expect(
            rig.launch(pid: 50) {
                $0.restart = true
                $0.pid = 10
                $0.processes = 2
                $0.generation = 7
            } == Launched(computation: "one"))
        #expect(rig.watched == [50])
        let first = rig.worker(110, restarted: true)
        #expect(rig.coordinator.living.first?.announced.count == 1)
        let second = rig.worker(111, restarted: true)
        #expect(rig.coordinator.living.first?.announced.isEmpty == true)
        _ = rig.request(Request(.checkpoint))
        #expect(rig.complete([first, second]) == 8)
        _ = rig.launch(pid: 51, computation: "two") { $0.restart = true }
        rig.feed(.processEnded(51))
        #expect(rig.coordinator.living.map(\.id) == ["one"])
    }
}
