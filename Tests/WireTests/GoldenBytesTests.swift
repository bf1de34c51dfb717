import CSwiftCP
import Testing

@testable import Wire

/// Bytes as swiftcp_protocol.h lays them out.
@Suite("Golden bytes")
struct GoldenBytesTests {
    /// Hexadecimal digits, white space and `// comments` to the end of a line; `N*XX` is N times the byte XX.
    static func bytes(_ text: String) -> [UInt8] {
        var result: [UInt8] = []
        for line in text.split(separator: "\n") {
            let code = line.split(separator: "/", omittingEmptySubsequences: false).first ?? ""
            for word in code.split(separator: " ") {
                let parts = word.split(separator: "*")
                let count = parts.count == 2 ? Int(parts[0]) ?? 0 : 1
                if let byte = parts.last.flatMap({ UInt8($0, radix: 16) }) {
                    result += [UInt8](repeating: byte, count: count)
                } else {
                    Issue.record("\(word) is no byte")
                }
            }
        }
        return result
    }

    static let cases: [(Message, String)] = [
        (
            .kill,
            """
            08 00 00 00 // length: the header alone
            07 00       // version
            08 00       // type KILL
            """
        ),
        (
            .go(StageGo(stage: .snapshotted, generation: 258, processes: 3)),
            """
            18 00 00 00 07 00 05 00
            03 00 00 00 // stage snapshotted
            02 01 00 00 // generation
            03 00 00 00 // processes
            4*00        // reserved
            """
        ),
        (
            .children(
                Children(
                    generation: 3, hasForked: true,
                    processes: [ChildProcess(pid: 258), ChildProcess(pid: 9, isZombie: true)])),
            """
            28 00 00 00 07 00 0b 00
            03 00 00 00 01 00 00 00 // generation, flags: has forked
            02 00 00 00 4*00        // count, reserved
            02 01 00 00 4*00        // pid, flags
            09 00 00 00 01 00 00 00 // pid, flags: zombie
            """
        ),
        (
            .survey(
                Survey(
                    generation: 3,
                    entries: [
                        SurveyEntry(description: 5, device: 0x0102, inode: 7),
                        SurveyEntry(memory: 8, device: 9, offset: 4096, length: 0x1_0000_0000),
                    ])),
            """
            60 00 00 00 07 00 0c 00
            03 00 00 00 02 00 00 00 // generation, count
            01 00 00 00 05 00 00 00 // kind description, number
            02 01 6*00  07 7*00     // device, inode
            8*00        8*00        // offset, length
            02 00 00 00 ff ff ff ff // kind memory, no number
            09 7*00     08 7*00     // device, inode
            00 10 6*00  4*00 01 3*00 // offset, length
            """
        ),
        (
            .assignment(
                Assignment(
                    generation: 3,
                    entries: [
                        Assigned(identity: 1, isOwner: true, isShared: false),
                        Assigned(identity: 258, isOwner: false, isShared: true),
                    ], stopped: [259])),
            """
            3c 00 00 00 07 00 0d 00
            03 00 00 00 02 00 00 00 // generation, count
            01 00 00 00 00 00 00 00 // stopped children
            01 7*00     01 00 00 00 4*00 // identity, flags: owner
            02 01 6*00  02 00 00 00 4*00 // identity, flags: shared
            03 01 00 00             // pid
            """
        ),
        (
            .ask(Ask(kind: .checkpointAndEnd, signal: 15)),
            """
            10 00 00 00 07 00 09 00
            02 00 00 00 // kind
            0f 00 00 00 // signal
            """
        ),
        (
            .welcome(Welcome(error: 71, text: "no")),
            """
            08 01 00 00 07 00 02 00
            47 00 00 00 // error EPROTO
            4*00        // reserved
            6e 6f 246*00
            """
        ),
        (
            .stage(
                StageReport(
                    stage: .written, generation: 5, pause: 0x0102_0304_0506_0708, bytesWritten: 9, memoryBytes: 10,
                    metadataChecksum: 0xf1f2_f3f4_f5f6_f7f8, threads: 11, regions: 12, descriptors: 13,
                    snapshot: .copyOnWrite)),
            """
            40 00 00 00 07 00 04 00
            04 00 00 00 05 00 00 00 // stage, generation
            08 07 06 05 04 03 02 01 // pause_ns
            09 7*00                 // bytes_written
            0a 7*00                 // memory_bytes
            f8 f7 f6 f5 f4 f3 f2 f1 // metadata_checksum
            0b 00 00 00 0c 00 00 00 // threads, regions
            0d 00 00 00 02 00 00 00 // descriptors, snapshot
            """
        ),
        (
            .failed(Text(error: 28, generation: 3, text: "full")),
            """
            08 04 00 00 07 00 07 00
            1c 00 00 00 03 00 00 00
            66 75 6c 6c 1012*00
            """
        ),
        (
            .checkpoint(
                CheckpointOrder(generation: 2, flags: 4, stageLimit: 1000, quiesceLimit: 500, path: "/i")),
            """
            30 10 00 00 07 00 03 00
            02 00 00 00 04 00 00 00
            e8 03 00 00 f4 01 00 00
            00 00 00 00 00 00 00 00 // snapshot, compression
            00 00 00 00 00 00 00 00 // io limit, incremental
            00 00 00 00 00 00 00 00 // stopped by
            2f 69 4094*00
            """
        ),
        (
            .ancestors(Ancestors(generation: 9, needed: [4, 7], filePages: [9])),
            """
            24 00 00 00 07 00 0f 00
            09 00 00 00 02 00 00 00
            01 00 00 00 00 00 00 00
            04 00 00 00 07 00 00 00
            09 00 00 00
            """
        ),
        (
            .hello(
                Hello(
                    ownPid: 7, ownParent: 1, restarted: true, generation: 4, name: "cat", computation: "ab",
                    checkpointDirectory: "/d")),
            """
            d8 10 00 00 07 00 01 00
            07 00 00 00 01 00 00 00
            01 00 00 00 04 00 00 00
            63 61 74 61*00
            61 62 62*00
            2f 64 4094*00
            64*00 // reserved
            """
        ),
        (
            .request(Request(.interval, noWait: true, interval: 0x1_0000_0000, computation: "ab")),
            """
            58 00 00 00 07 00 12 00
            05 00 00 00 01 00 00 00
            4*00 01 00 00 00
            61 62 62*00
            """
        ),
        (
            .launched(Launched(error: -1, coordinatorPid: 9, computation: "ab", text: "x")),
            """
            08 02 00 00 07 00 11 00
            ff ff ff ff 09 00 00 00
            61 62 62*00
            78 439*00
            """
        ),
        (.reply("{}"), "0a 00 00 00 07 00 13 00 7b 7d"),
    ]

    @Test("Each message has its bytes, and the bytes are read as that message", arguments: cases.indices)
    func golden(index: Int) throws {
        let (message, text) = Self.cases[index]
        let expected = Self.bytes(text)
        #expect(try message.encoded() == expected)
        var frames = FrameBuffer()
        frames.append(expected)
        #expect(try frames.next() == message)
        #expect(frames.pending == 0)
    }

    @Test("LAUNCH as its C struct has it")
    func launch() throws {
        let bytes = Array(try Message.launch(Self.launch).encoded().dropFirst(8))
        let offset = { (path: PartialKeyPath<scp_launch>) in MemoryLayout<scp_launch>.offset(of: path) ?? -1 }
        #expect(bytes.count == MemoryLayout<scp_launch>.size)
        let raw = bytes.withUnsafeBytes { $0.loadUnaligned(as: scp_launch.self) }
        #expect(raw.pid == 1 && raw.flags == 7 && raw.processes == 2 && raw.generation == 3 && raw.keep == 4)
        #expect(raw.snapshot == 3 && raw.checkpoint_flags == 5 && raw.interval_set == 1 && raw.interval_us == 6)
        #expect(raw.incremental == SCP_INCREMENTAL_ASKED | 7)
        func text(_ path: PartialKeyPath<scp_launch>, _ length: Int) -> String {
            String(decoding: bytes[offset(path)..<offset(path) + length], as: UTF8.self)
        }
        #expect(text(\scp_launch.name, 5) == "name\0")
        #expect(text(\scp_launch.computation, 3) == "id\0")
        #expect(text(\scp_launch.checkpoint_directory, 3) == "/c\0")
        #expect(text(\scp_launch.command, 7) == "a\0b c\0\0")
        #expect(text(\scp_launch.directory, 3) == "/d\0")
    }

    static var launch: Launch {
        var launch = Launch()
        (launch.pid, launch.join, launch.restart, launch.auto) = (1, true, true, true)
        (launch.processes, launch.generation, launch.keep) = (2, 3, 4)
        (launch.snapshot, launch.checkpointFlags, launch.interval) = (.stop, 5, 6)
        launch.incremental = SCP_INCREMENTAL_ASKED | 7
        (launch.name, launch.computation, launch.checkpointDirectory) = ("name", "id", "/c")
        (launch.command, launch.directory) = (["a", "b c"], "/d")
        return launch
    }

    @Test("Sizes of payloads are those of the C structs")
    func sizes() throws {
        func size(_ message: Message) throws -> Int { try message.encoded().count - MemoryLayout<scp_frame>.size }
        #expect(
            try size(.hello(Hello(ownPid: 1, name: "", computation: "", checkpointDirectory: "")))
                == MemoryLayout<scp_hello>.size)
        #expect(try size(.welcome(Welcome())) == MemoryLayout<scp_welcome>.size)
        #expect(
            try size(.checkpoint(CheckpointOrder(generation: 1, stageLimit: 1, quiesceLimit: 1, path: "")))
                == MemoryLayout<scp_checkpoint_order>.size)
        #expect(try size(.stage(StageReport(stage: .written, generation: 1))) == MemoryLayout<scp_stage_report>.size)
        #expect(try size(.go(StageGo(stage: .written, generation: 1))) == MemoryLayout<scp_stage_go>.size)
        #expect(try size(.abort(Text())) == MemoryLayout<scp_text>.size)
        #expect(try size(.ask(Ask(kind: .checkpoint))) == MemoryLayout<scp_ask>.size)
        #expect(try size(.launch(Launch())) == MemoryLayout<scp_launch>.size)
        #expect(try size(.launched(Launched())) == MemoryLayout<scp_launched>.size)
        #expect(try size(.request(Request(.status))) == MemoryLayout<scp_request>.size)
        #expect(try size(.children(Children(generation: 1))) == MemoryLayout<scp_children>.size)
        #expect(try size(.survey(Survey(generation: 1, entries: []))) == MemoryLayout<scp_survey>.size)
        #expect(try size(.assignment(Assignment(generation: 1, entries: []))) == MemoryLayout<scp_assignment>.size)
    }

    @Test("Numbers of enumerations are those of the header")
    func numbers() {
        #expect(Stage.quiesced.rawValue == SCP_STAGE_QUIESCED.rawValue)
        #expect(Stage.surveyed.rawValue == SCP_STAGE_SURVEYED.rawValue)
        #expect(SurveyEntry.Kind.memory.rawValue == SCP_SURVEY_MEMORY.rawValue)
        #expect(Stage.committed.rawValue == SCP_STAGE_COMMITTED.rawValue)
        #expect(SnapshotMode.copyOnWrite.rawValue == SCP_SNAPSHOT_COW.rawValue)
        #expect(SnapshotMode.stop.rawValue == SCP_SNAPSHOT_STOP.rawValue)
        #expect(Verb.quit.rawValue == SCP_VERB_QUIT.rawValue)
        #expect(Verb.kcheckpoint.rawValue == SCP_VERB_KCHECKPOINT.rawValue)
        #expect(Ask.Kind.checkpointAndEnd.rawValue == SCP_ASK_CHECKPOINT_AND_END.rawValue)
    }
}
