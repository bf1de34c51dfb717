import CSwiftCP
import Glibc
import SystemCalls
import Testing
import Wire

@testable import Coordination

/// Random events in random order: what must always hold, holds.
@Suite("Any order of events")
struct AnyOrderTests {
    /// Reproducible: a failure names its seed.
    struct Numbers: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {  // SplitMix64
            state &+= 0x9e37_79b9_7f4a_7c15
            var value = state
            value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
            value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
            return value ^ (value >> 31)
        }
    }

    /// A worker as the protocol wants it, whose messages may be late.
    struct Process {
        var connection: ConnectionID
        let pid: Int32
        let computation: String
        var generation: UInt32 = 0
        var stage = Stage.running
        /// Members of the checkpoint, as the last GO said.
        var count: UInt32 = 0
        var mayGo = false
        /// It stops when it is told that all are prepared, and has said that it is itself.
        var waitsForStart = false
        var isPrepared = false
        var killed = false
    }

    struct World {
        var rig: Rig
        var numbers: Numbers
        var processes: [Process] = []
        var commands: [ConnectionID] = []
        var nextPid: Int32 = 100

        init(seed: UInt64) {
            rig = Rig {
                $0.stageLimit = 5
                $0.quiesceLimit = 2
                $0.announceLimit = 4
                $0.killLimit = 3
                $0.interval = seed % 3 == 0 ? 7 : 0
            }
            numbers = Numbers(state: seed)
        }

        mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &numbers) }

        mutating func step() {
            if roll(30) == 0 { rig.scans = (0..<roll(6)).map { _ in [stray()] } }
            switch roll(20) {
            case 0, 1: start()
            case 2: if !processes.isEmpty, roll(3) == 0 { die(roll(processes.count)) }
            case 3: if !processes.isEmpty { exec(roll(processes.count)) }
            case 4: if !processes.isEmpty { fail(roll(processes.count)) }
            case 5: ask()
            case 6, 7: command()
            case 8: rig.pass(Double(roll(30)) / 10)
            default: if !processes.isEmpty { work(roll(processes.count)) }
            }
            listen()
        }

        /// Somebody who belongs here and does not connect.
        mutating func stray() -> Stray {
            var stray = Stray(pid: 90, parent: 1, name: "stray", isMarked: roll(2) == 0)
            stray.isUndecided = roll(3) == 0
            stray.obstacle = [nil, .staticallyLinked, .otherUser][roll(3)]
            return stray
        }

        mutating func start() {
            guard processes.count < 6 else { return }
            nextPid += 1
            let computation = ["one", "two"][roll(2)]
            if roll(3) == 0 { _ = rig.launch(pid: nextPid, computation: computation) }
            if roll(5) == 0 {
                rig.feed(.processEnded(nextPid))  // it never got as far as HELLO
                return
            }
            let connection = rig.worker(nextPid, in: computation, takesWelcome: false)
            processes.append(Process(connection: connection, pid: nextPid, computation: computation))
        }

        mutating func die(_ index: Int) {
            let process = processes.remove(at: index)
            if roll(2) == 0 { rig.feed(.processEnded(process.pid)) }
            rig.feed(.disconnected(process.connection))
            rig.feed(.processEnded(process.pid))
        }

        mutating func exec(_ index: Int) {
            guard processes[index].stage == .running, !processes[index].killed else { return }
            let process = processes[index]
            rig.feed(.disconnected(process.connection))
            processes[index] = Process(
                connection: rig.worker(process.pid, in: process.computation, takesWelcome: false), pid: process.pid,
                computation: process.computation)
        }

        mutating func fail(_ index: Int) {
            guard processes[index].generation > 0, roll(4) == 0 else { return }
            rig.feed(
                .message(
                    processes[index].connection,
                    .failed(Text(error: EIO, generation: processes[index].generation, text: "failed"))))
            processes[index].generation = 0
            processes[index].stage = .running
        }

        mutating func ask() {
            guard let process = processes.randomElement(using: &numbers) else { return }
            let kind: Ask.Kind = roll(4) == 0 ? .checkpointAndEnd : .checkpoint
            rig.feed(.message(process.connection, .ask(Ask(kind: kind))))
        }

        mutating func command() {
            let verbs: [Verb] = [.checkpoint, .checkpoint, .status, .kcheckpoint, .interval, .kill]
            let request = Request(verbs[roll(verbs.count)], computation: roll(2) == 0 ? "" : ["one", "two"][roll(2)])
            commands.append(rig.request(request))
        }

        /// The process does what comes next.
        mutating func work(_ index: Int) {
            let process = processes[index]
            if process.killed { return die(index) }
            guard process.generation > 0, process.mayGo, var next = process.stage.next, next < .committed else {
                return
            }
            if process.waitsForStart {
                guard !process.isPrepared else { return }
                processes[index].isPrepared = true
                return rig.report(process.connection, .running, process.generation)
            }
            if next == .surveyed, process.count == 1 { next = .snapshotted }
            if next == .quiesced, roll(2) == 0 {
                let family = processes.filter { $0.computation == process.computation && $0.pid != process.pid }
                rig.tellChildren(process.connection, family.map { UInt32($0.pid) }, process.generation)
            }
            processes[index].stage = next
            processes[index].mayGo = false
            rig.report(process.connection, next, process.generation)
        }

        /// The processes read what was sent to them.
        mutating func listen() {
            if rig.destroyed.contains(90) { rig.feed(.processEnded(90)) }
            for index in processes.indices {
                for message in rig.takeAll(processes[index].connection) { take(message, index) }
            }
        }

        mutating func take(_ message: Message, _ index: Int) {
            switch message {
            case .checkpoint(let order):
                #expect(processes[index].generation == 0, "an order while another is under way")
                (processes[index].generation, processes[index].stage) = (order.generation, .running)
                processes[index].mayGo = true
                processes[index].isPrepared = false
                processes[index].waitsForStart = order.flags & UInt32(SCP_CHECKPOINT_TOGETHER.rawValue) != 0
            case .go(let go):
                guard go.generation == processes[index].generation else { return }
                if go.stage == .running { processes[index].waitsForStart = false }
                if go.stage == .committed {
                    #expect(processes[index].stage == .written)
                    processes[index].generation = 0
                    processes[index].stage = .running
                    return
                }
                #expect(processes[index].stage == go.stage, "GO before the report")
                processes[index].count = go.processes
                let others = processes.filter {
                    $0.computation == processes[index].computation && $0.generation == go.generation
                }
                #expect(others.allSatisfy { $0.stage >= go.stage }, "GO before everybody had reported")
                processes[index].mayGo = true
            case .abort(let text):
                if text.generation == processes[index].generation {
                    processes[index].generation = 0
                    processes[index].stage = .running
                }
            case .kill: processes[index].killed = true
            default: break
            }
        }

        /// Everybody does his duty and time passes, until nothing is left to do.
        mutating func settle() {
            for _ in 0..<400 {
                for index in processes.indices.reversed() { work(index) }
                listen()
                if rig.coordinator.requests.isEmpty { break }
                rig.pass(0.5)
                listen()
            }
        }
    }

    @Test("Every request is answered exactly once, and nothing stays stuck", arguments: 0..<150)
    func randomWalk(seed: Int) {
        var world = World(seed: UInt64(seed))
        for _ in 0..<300 { world.step() }
        world.settle()
        #expect(world.rig.coordinator.requests.isEmpty, "seed \(seed)")
        for command in world.commands {
            let count = world.rig.replies.filter { $0.requester == .connection(command) }.count
            #expect(count == 1, "seed \(seed)")
        }
        world.rig.scans = []
        // Then everything goes, and the coordinator forgets it all.
        for index in world.processes.indices.reversed() { world.die(index) }
        for pid in 100...world.nextPid { world.rig.feed(.processEnded(pid)) }
        world.rig.pass(200)
        #expect(world.rig.coordinator.computations.isEmpty, "seed \(seed)")
        #expect(world.rig.coordinator.disk.isEmpty, "seed \(seed)")
        #expect(world.rig.coordinator.nextDeadline == nil, "seed \(seed)")
    }

    @Test("The walk is no idle one: checkpoints succeed and fail in it")
    func walkWorks() {
        var (made, failed) = (0, 0)
        for seed in 0..<10 {
            var world = World(seed: UInt64(seed))
            for _ in 0..<300 { world.step() }
            made += world.rig.manifests.count
            failed += world.rig.diskLog.filter { $0.hasPrefix("discard") }.count
        }
        #expect(made > 20)
        #expect(failed > 20)
    }
}
