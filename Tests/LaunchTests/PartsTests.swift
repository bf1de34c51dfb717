import CSwiftCP
import Foundation
import SystemCalls
import Testing

@testable import Launch

@Suite struct `The program's environment` {
    private let settings = ProgramEnvironment.Settings(
        coordinator: "unix:/run/c", computation: "abc", checkpointDirectory: "/d", signal: 12, autoSignals: [2, 15, 1],
        streams: "1:2,3:4,0:0")

    private func entries(_ environment: ProgramEnvironment) -> [String] {
        environment.entries.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func `Only our own variables change, and other preloads stay behind the library`() {
        var environment = ProgramEnvironment(
            entries: ["A=1", "LD_PRELOAD=/x/libjemalloc.so /old/libswiftcp.so:y.so", "SWIFTCP_SIGNAL=USR1", "B="]
                .map { Array($0.utf8) } + [[0x43, 0x3d, 0xff]])
        environment.apply(settings, shim: "/l/libswiftcp.so")
        #expect(
            entries(environment) == [
                "A=1", "LD_PRELOAD=/l/libswiftcp.so:/x/libjemalloc.so:y.so", "SWIFTCP_SIGNAL=12", "B=", "C=\u{fffd}",
                "SWIFTCP_COORDINATOR=unix:/run/c", "SWIFTCP_COMPUTATION=abc", "SWIFTCP_CKPTDIR=/d",
                "SWIFTCP_AUTO_SIGNALS=2,15,1", "SWIFTCP_STREAMS=1:2,3:4,0:0",
                "SWIFTCP_SURROUNDINGS=" + SCP_SURROUNDINGS_UNKNOWN,
            ])
        #expect(environment.entries[4] == [0x43, 0x3d, 0xff])
    }

    @Test func `Without auto a variable of an outer run is removed`() {
        var environment = ProgramEnvironment(entries: [Array("SWIFTCP_AUTO_SIGNALS=2".utf8)])
        var plain = settings
        plain.autoSignals = []
        environment.apply(plain, shim: "/l/libswiftcp.so")
        #expect(environment.value("SWIFTCP_AUTO_SIGNALS") == nil)
        #expect(environment.value("LD_PRELOAD") == "/l/libswiftcp.so")
    }

    @Test func `Words are lent as C strings`() {
        let got = withWords([Array("a b".utf8), [], [0xff]]) { words in
            (0..<3).map { index in words[index].map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } }
                + [words[3].map { _ in [UInt8]() }]
        }
        #expect(got == [[0x61, 0x20, 0x62], [], [0xff], nil])
        #expect(withWords([]) { $0[0] == nil })
    }
}

@Suite struct `Ids of computations` {
    private func stable(_ words: String..., directory: String = "/home/u") -> String {
        ComputationIdentifier.stable(words: words.map { Array($0.utf8) }, directory: directory)
    }

    @Test func `The same command line in the same folder has the same id in every release`() {
        #expect(stable("./counter", "5") == "56a10a785fa7")
    }

    @Test func `Anything else has another one`() {
        let ids = [
            stable("./counter", "5"), stable("./counter", "5", ""), stable("./counter 5"), stable("./counter5"),
            stable("./counter", "5", directory: "/home/v"),
        ]
        #expect(Set(ids).count == ids.count)
    }

    @Test func `Random ones have 12 hexadecimal digits`() {
        let ids = (0..<50).map { _ in ComputationIdentifier.random() }
        #expect(ids.allSatisfy { $0.count == 12 && UInt64($0, radix: 16) != nil })
        #expect(Set(ids).count == 50)
    }
}

@Suite struct `A computation's folder` {
    private func generation(_ folder: String, _ name: String, complete: Bool) throws {
        try Files.makeDirectories(folder + "/" + name)
        try Files.write([1], to: folder + "/" + name + "/prog_7.swiftcp")
        if complete { try Files.write([2], to: folder + "/" + name + "/manifest.json") }
    }

    @Test func `The newest complete generation counts`() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/ckpt_prog_abc"
        try generation(path, "gen-000002", complete: true)
        try generation(path, "gen-000010", complete: true)
        try generation(path, "gen-000011", complete: false)
        try generation(path, ".gen-000012.partial", complete: true)
        try generation(path, "gen-x", complete: true)
        let folder = try #require(ComputationFolder.find(in: scratch.path, computation: "abc"))
        #expect(folder.newestComplete == 10)
        #expect(folder.generation(10) == path + "/gen-000010")
        #expect(ComputationFolder.find(in: scratch.path, computation: "bc") == nil)
        #expect(ComputationFolder.find(in: scratch.path + "/none", computation: "abc") == nil)
    }

    @Test func `Removing it leaves what is outside alone`() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/ckpt_prog_abc"
        try generation(path, "gen-000001", complete: true)
        let outside = try scratch.file("outside", [1])
        symlink("gen-000001", path + "/latest")
        symlink(scratch.path, path + "/gen-000001/up")
        try #require(ComputationFolder.find(in: scratch.path, computation: "abc")).remove()
        #expect(!Files.exists(path))
        #expect(Files.exists(outside))
    }
}

@Suite struct `How a supervised program's end is judged` {
    @Test(arguments: [
        (Verdict(end: .exited(0)), Verdict.Outcome.finished),
        (Verdict(end: .exited(0), newest: 4), .finished),
        (Verdict(end: .exited(3)), .failed(generation: 0)),
        (Verdict(end: .exited(3), newest: 4), .failed(generation: 4)),
        (Verdict(end: .killed(signal: 9), newest: 4), .failed(generation: 4)),  // killed by somebody else
        (Verdict(end: .killed(signal: 9), confirmed: true, newest: 1), .interrupted(generation: 1)),
        (Verdict(end: .exited(137), confirmed: true, before: 1, newest: 2), .interrupted(generation: 2)),
        // The reply never came, but the images and the end speak for themselves.
        (Verdict(end: .killed(signal: 9), before: 1, newest: 2, endsProcesses: true), .interrupted(generation: 2)),
        (Verdict(end: .exited(137), before: 1, newest: 2, endsProcesses: true), .interrupted(generation: 2)),
        // No newer generation, or an end of its own.
        (Verdict(end: .killed(signal: 9), before: 2, newest: 2, endsProcesses: true), .failed(generation: 2)),
        (Verdict(end: .killed(signal: 2), before: 1, newest: 2, endsProcesses: true), .failed(generation: 2)),
        // A checkpoint by interval, and then somebody else's SIGKILL.
        (Verdict(end: .killed(signal: 9), before: 1, newest: 2), .failed(generation: 2)),
        (Verdict(end: .exited(0), before: 1, newest: 2), .finished),
    ])
    func `By what is known`(verdict: Verdict, outcome: Verdict.Outcome) {
        #expect(verdict.outcome == outcome)
    }

    @Test func `Statuses are a shell's`() {
        #expect(ProgramEnd.exited(7).status == 7)
        #expect(ProgramEnd.killed(signal: 15).status == 143)
    }
}

@Suite struct `Members of a reply` {
    @Test(arguments: [
        (#"{"status":"ok"}"#, "ok"), (#"{ "a" : {"status": "no"}, "status" : "error" }"#, "error"),
        (#"{"x":["status",":","no"],"status":"a\"b\\c\nd\u00e9"}"#, "a\"b\\c\nd\u{e9}"),
        (#"{"status":"\ud800"}"#, "\u{fffd}"),
    ])
    func `Only the outermost object's are read`(text: String, value: String) {
        #expect(ReplyText.string("status", in: text) == value)
    }

    @Test(arguments: [
        "", "{", #"{"status""#, #"{"status":"#, #"{"status":"ok"#, #"{"status":5}"#, #"{"status":"\u12"#, "[]",
    ])
    func `Damaged text has none`(text: String) {
        #expect(ReplyText.string("status", in: text) == nil)
    }
}
