import Foundation
import SystemCalls
import Testing
import Wire

@testable import Launch

private func welcoming(_ message: Message) -> Message? {
    if case .launch(let launch) = message { return .launched(Launched(computation: launch.computation)) }
    return nil
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct `Starting a program` {
    @Test func `It runs with its words, and the coordinator knows it before`() throws {
        let scratch = try Scratch()
        let coordinator = try FakeCoordinator(scratch, answer: welcoming)
        defer { coordinator.stop() }
        let script = "echo $$ \"$0\" \"$1\"; env | grep ^SWIFTCP; echo $LD_PRELOAD"
        let run = try LaunchRun(
            scratch,
            [
                "--coordinator", coordinator.address, "-i", "1.5", "--keep", "4", "-d", "images", "--snapshot", "stop",
                "--ckpt-open-files", "--outside=refuse", "sh", "-c", script, "a b", "é",
            ], environment: ["LD_PRELOAD": ""])
        let lines = run.text().split(separator: "\n").map(String.init)
        #expect(run.status() == 0)
        let launch = try #require(coordinator.launch)
        #expect(lines.first == "\(launch.pid) a b é")
        #expect(launch.command == ["sh", "-c", script, "a b", "é"])
        #expect(launch.checkpointDirectory == (try Files.realPath(scratch.path)) + "/images")
        #expect(launch.interval == 1_500_000)
        #expect(launch.keep == 4)
        #expect(launch.snapshot == .stop)
        #expect(launch.checkpointFlags == 3)
        #expect(launch.name == "sh")
        #expect(launch.computation.count == 12)
        #expect(!launch.auto && !launch.restart && !launch.join)
        #expect(lines.contains("SWIFTCP_COMPUTATION=\(launch.computation)"))
        #expect(lines.contains("SWIFTCP_COORDINATOR=\(coordinator.address)"))
        #expect(lines.contains("SWIFTCP_CKPTDIR=\(launch.checkpointDirectory)"))
        #expect(lines.contains("SWIFTCP_SIGNAL=12"))
        #expect(!lines.contains { $0.hasPrefix("SWIFTCP_AUTO_SIGNALS") })
        #expect(lines.last?.hasSuffix("/lib/libswiftcp.so") == true)
    }

    @Test func `Signals are as they were inherited, and no descriptor leaks`() throws {
        let scratch = try Scratch()
        let coordinator = try FakeCoordinator(scratch, answer: welcoming)
        defer { coordinator.stop() }
        let script = "grep -E 'SigBlk|SigIgn' /proc/self/status; echo $(ls /proc/self/fd)"
        // Once natively, once launched, out of one shell.
        let twice = "trap '' USR1 PIPE; sh -c '\(script.replacing("'", with: "'\\''"))'; exec \"$0\" \"$@\""
        let run = try LaunchRun(
            scratch, ["--coordinator", coordinator.address, "sh", "-c", script], through: ["sh", "-c", twice])
        let lines = run.text().split(separator: "\n")
        #expect(run.status() == 0)
        #expect(lines.count == 6)
        #expect(lines.prefix(3) == lines.suffix(3))
    }

    @Test func `A coordinator's refusal is shown, and nothing runs`() throws {
        let scratch = try Scratch()
        let coordinator = try FakeCoordinator(scratch) { _ in .launched(Launched(error: EEXIST, text: "it is full")) }
        defer { coordinator.stop() }
        let run = try LaunchRun(scratch, ["--coordinator", coordinator.address, "touch", "ran"])
        #expect(run.status() == 1)
        #expect(run.messages == ["swiftcp_launch: it is full"])
        #expect(!Files.exists(scratch.path + "/ran"))
    }

    @Test func `Without a coordinator joining ends with status 3`() throws {
        let scratch = try Scratch()
        let run = try LaunchRun(scratch, ["-j", "--coordinator", "unix:none", "touch", "ran"])
        #expect(run.status() == 3)
        #expect(run.messages.first?.hasPrefix("swiftcp_launch: no coordinator at unix:") == true)
        #expect(!Files.exists(scratch.path + "/ran"))
    }

    @Test func `Wrong usage ends with status 2 and a hint, a wrong target with 1`() throws {
        let scratch = try Scratch()
        let usage = try LaunchRun(scratch, ["--keeep", "3", "true"])
        #expect(usage.status() == 2)
        #expect(usage.messages.first == "swiftcp_launch: unknown option --keeep; did you mean --keep?")
        let target = try LaunchRun(scratch, ["./none"])
        #expect(target.status() == 1)
        #expect(target.messages == ["swiftcp_launch: cannot start ./none under SwiftCP: No such file or directory"])
        let folder = try LaunchRun(scratch, ["-d", "/proc/none", "true"])
        #expect(folder.status() == 1)
        #expect(folder.messages.first?.contains("/proc/none") == true)
    }
}

/// Plays the coordinator's and the worker's part of a kcheckpoint: makes a generation, ends the process, says so.
private final class Saver: Sendable {
    let scratch: String
    let reply: String
    let ends: Bool

    init(_ scratch: Scratch, reply: String = #"{"status":"ok"}"#, ends: Bool = true) throws {
        self.scratch = try Files.realPath(scratch.path)
        (self.reply, self.ends) = (reply, ends)
    }

    func answer(_ message: Message, launch: Launch?) -> Message? {
        switch message {
        case .launch(let launch): return .launched(Launched(computation: launch.computation))
        case .request(let request):
            guard request.verb == .kcheckpoint, let launch, request.computation == launch.computation else {
                return nil
            }
            if ends {
                let folder = "\(launch.checkpointDirectory)/ckpt_\(launch.name)_\(launch.computation)/gen-000001"
                try? Files.makeDirectories(folder)
                try? Files.write(Array(#"{"ends_processes" : true}"#.utf8), to: folder + "/manifest.json")
                kill(Int32(launch.pid), SIGKILL)
            }
            return .reply(reply)
        default: return nil
        }
    }
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct `Supervising a program` {
    private func coordinator(_ scratch: Scratch, _ saver: Saver) throws -> FakeCoordinator {
        let known = Box()
        return try FakeCoordinator(scratch) { message in
            if case .launch(let launch) = message { known.set(launch) }
            return saver.answer(message, launch: known.get())
        }
    }

    private func start(_ scratch: Scratch, _ coordinator: FakeCoordinator, _ script: String, _ options: String...)
        throws
        -> LaunchRun
    {
        try LaunchRun(
            scratch, ["--auto", "--coordinator", coordinator.address, "-d", "images"] + options + ["sh", "-c", script])
    }

    /// The program of these tests says when it is ready by making a file, and then waits.
    private let waiting = "echo > ready; while :; do sleep 0.01; done"

    private func ready(_ scratch: Scratch) -> Bool { eventually { Files.exists(scratch.path + "/ready") } }

    @Test func `A finished program's images are removed, with the folder made for them`() throws {
        let scratch = try Scratch()
        let coordinator = try coordinator(scratch, Saver(scratch))
        defer { coordinator.stop() }
        let run = try start(scratch, coordinator, "mkdir -p images/ckpt_sh_$SWIFTCP_COMPUTATION/.gen-000001.partial")
        #expect(run.status() == 0)
        #expect(!Files.exists(scratch.path + "/images"))
        #expect(coordinator.launch?.auto == true)
    }

    @Test(arguments: [("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
    func `Other ends are passed on, and images stay`(script: String, status: Int32) throws {
        let scratch = try Scratch()
        let coordinator = try coordinator(scratch, Saver(scratch))
        defer { coordinator.stop() }
        let make = "d=images/ckpt_sh_$SWIFTCP_COMPUTATION/gen-000003; mkdir -p $d; echo > $d/manifest.json; "
        let run = try start(scratch, coordinator, make + script)
        #expect(run.status() == status)
        #expect(run.messages.last?.contains("status \(status); generation 3 stays") == true)
        let id = try #require(coordinator.launch?.computation)
        #expect(Files.exists("\(scratch.path)/images/ckpt_sh_\(id)/gen-000003/manifest.json"))
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func `A signal means checkpoint, then end`(signal: Int32) throws {
        let scratch = try Scratch()
        let coordinator = try coordinator(scratch, Saver(scratch))
        defer { coordinator.stop() }
        let run = try start(scratch, coordinator, waiting)
        try #require(ready(scratch))
        kill(run.process.processIdentifier, signal)
        #expect(run.status() == 85)
        #expect(run.messages.last?.contains("saved as generation 1") == true)
    }

    @Test func `Its exit status can be chosen`() throws {
        let scratch = try Scratch()
        let coordinator = try coordinator(scratch, Saver(scratch))
        defer { coordinator.stop() }
        let run = try start(scratch, coordinator, waiting, "--interrupted-status", "0", "-q")
        try #require(ready(scratch))
        kill(run.process.processIdentifier, SIGTERM)
        #expect(run.status() == 0)
        #expect(run.messages.isEmpty)
        let id = try #require(coordinator.launch?.computation)
        #expect(Files.exists("\(scratch.path)/images/ckpt_sh_\(id)/gen-000001/manifest.json"))
    }

    @Test func `When the checkpoint fails the program gets the signal`() throws {
        let scratch = try Scratch()
        let saver = try Saver(scratch, reply: #"{"status":"error","error":"no space left"}"#, ends: false)
        let coordinator = try coordinator(scratch, saver)
        defer { coordinator.stop() }
        let run = try start(scratch, coordinator, "trap 'exit 9' TERM; " + waiting)
        try #require(ready(scratch))
        kill(run.process.processIdentifier, SIGTERM)
        #expect(run.status() == 9)
        #expect(
            run.messages.last == "swiftcp_launch: cannot checkpoint sh: no space left; it receives SIGTERM instead")
    }

    @Test func `A second signal during the checkpoint changes nothing`() throws {
        let scratch = try Scratch()
        let coordinator = try FakeCoordinator(scratch) { message in
            if case .launch(let launch) = message { return .launched(Launched(computation: launch.computation)) }
            return nil  // the checkpoint takes for ever
        }
        defer { coordinator.stop() }
        let run = try start(scratch, coordinator, waiting)
        try #require(ready(scratch))
        let id = try #require(coordinator.launch?.computation)
        kill(run.process.processIdentifier, SIGINT)
        let asked = { coordinator.messages.contains(.request(Request(.kcheckpoint, computation: id))) }
        try #require(eventually(asked))
        kill(run.process.processIdentifier, SIGTERM)
        try #require(eventually { run.messages.last?.contains("already checkpointing") == true })
        #expect(run.process.isRunning)
        let pid = try #require(coordinator.launch?.pid)
        #expect(Processes.exists(Int32(pid)))
        kill(Int32(pid), SIGKILL)
        #expect(run.status() == 137)
    }

    @Test func `A signal that was ignored before stays ignored`() throws {
        let scratch = try Scratch()
        let coordinator = try coordinator(scratch, Saver(scratch))
        defer { coordinator.stop() }
        let run = try LaunchRun(
            scratch,
            [
                "--auto", "--coordinator", coordinator.address, "sh", "-c",
                "echo $SWIFTCP_AUTO_SIGNALS; grep SigIgn /proc/self/status",
            ], through: ["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""])
        let lines = run.text().split(separator: "\n")
        #expect(run.status() == 0)
        #expect(lines.first == "2,15")
        #expect(lines.last?.hasSuffix("1") == true)
    }

    @Test func `The program's stop is the supervisor's stop, and both go on together`() throws {
        let scratch = try Scratch()
        let coordinator = try coordinator(scratch, Saver(scratch))
        defer { coordinator.stop() }
        let run = try start(scratch, coordinator, "echo > ready; while [ ! -e go ]; do sleep 0.01; done; exit 5")
        try #require(ready(scratch))
        let own = run.process.processIdentifier
        let pid = Int32(try #require(coordinator.launch?.pid))
        kill(pid, SIGSTOP)
        #expect(eventually { state(own) == "T" })
        kill(own, SIGCONT)
        #expect(eventually { state(own) != "T" && state(pid) != "T" })
        // The stop that a terminal's user asks for, sent to this process alone.
        kill(own, SIGTSTP)
        #expect(eventually { state(own) == "T" && state(pid) == "T" })
        kill(own, SIGCONT)
        _ = try scratch.file("go", text: "")
        #expect(run.status() == 5)
    }

    private func state(_ pid: Int32) -> String {
        let stat = (try? Files.read("/proc/\(pid)/stat")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return stat.split(separator: ")").last?.split(separator: " ").first.map(String.init) ?? ""
    }
}

/// What several threads of a test hand to each other.
private final class Box: @unchecked Sendable {
    private let lock = NSLock()
    private var launch: Launch?
    func set(_ value: Launch) { lock.withLock { launch = value } }
    func get() -> Launch? { lock.withLock { launch } }
}
