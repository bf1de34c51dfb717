import CSwiftCP
import Testing

@testable import Wire

@Suite("Hostile input")
struct HostileInputTests {
    static var everyMessage: [Message] { GoldenBytesTests.cases.map(\.0) + [.launch(GoldenBytesTests.launch)] }

    /// The frame with another length in its header.
    static func relabelled(_ frame: [UInt8], length: Int) -> [UInt8] {
        withUnsafeBytes(of: UInt32(length).littleEndian) { Array($0) } + frame.dropFirst(4)
    }

    @Test("A message cut anywhere gives nothing yet, and never an error or a crash", arguments: everyMessage.indices)
    func truncated(index: Int) throws {
        let frame = try Self.everyMessage[index].encoded()
        for length in stride(from: 0, to: frame.count, by: max(1, frame.count / 97)) {
            var frames = FrameBuffer()
            frames.append(frame[..<length])
            #expect(try frames.next() == nil)
        }
    }

    @Test("A payload shorter or longer than its struct is refused", arguments: everyMessage.indices)
    func wrongSize(index: Int) throws {
        let message = Self.everyMessage[index]
        if case .reply = message { return }  // of any length
        let frame = try message.encoded()
        let variants: [[UInt8]] = [Array(frame.dropLast()), frame + [0], Array(frame.prefix(9))]
        for bytes in variants where bytes.count != frame.count && bytes.count >= 8 {
            var frames = FrameBuffer()
            frames.append(Self.relabelled(bytes, length: bytes.count))
            #expect(throws: WireError.self) { try frames.next() }
        }
    }

    @Test("Lengths that are none", arguments: [0, 7, Int(SCP_FRAME_MAXIMUM) + 1, 0xffff_ffff])
    func badLength(length: Int) throws {
        var frames = FrameBuffer()
        frames.append(Self.relabelled(try Message.kill.encoded(), length: length))
        #expect(throws: WireError.self) { try frames.next() }
    }

    @Test("A frame longer than this side accepts is refused before it has come")
    func overlong() throws {
        var frames = FrameBuffer(maximum: 4096)
        frames.append(Self.relabelled(try Message.kill.encoded(), length: 4097))
        #expect(throws: WireError.self) { try frames.next() }
    }

    @Test("Another version is named, with the type of the message")
    func version() throws {
        var frame = try Message.request(Request(.status)).encoded()
        frame[4] = UInt8(SCP_PROTOCOL_VERSION) + 1
        var frames = FrameBuffer()
        frames.append(frame)
        #expect {
            try frames.next()
        } throws: { error in
            guard let error = error as? WireError else { return false }
            return error.kind == .version(18) && error.text.contains("version \(SCP_PROTOCOL_VERSION + 1)")
        }
    }

    @Test("Unknown types", arguments: [0, 14, 15, 20, 0xffff])
    func unknownType(type: Int) throws {
        var frame = try Message.kill.encoded()
        frame[6] = UInt8(type & 0xff)
        frame[7] = UInt8(type >> 8)
        var frames = FrameBuffer()
        frames.append(frame)
        #expect(throws: WireError.self) { try frames.next() }
    }

    @Test("Texts without an end are refused")
    func endlessText() throws {
        for message in Self.everyMessage {
            let frame = try message.encoded()
            guard frame.count > 80 else { continue }
            switch message {
            case .stage, .survey: continue  // numbers only
            default: break
            }
            // From the first text to the end: no NUL anywhere.
            var hostile = frame
            let start =
                switch message {
                case .launch: 8 + 40
                case .welcome, .failed: 8 + 8
                default: 8 + 16
                }
            for index in start..<hostile.count { hostile[index] = 0x41 }
            var frames = FrameBuffer()
            frames.append(hostile)
            #expect(throws: WireError.self) { try frames.next() }
        }
    }

    @Test("Numbers that no enumeration has are refused")
    func unknownNumbers() throws {
        for message in [
            Message.go(StageGo(stage: .written, generation: 1)), .ask(Ask(kind: .checkpoint)),
            .request(Request(.status)), .stage(StageReport(stage: .written, generation: 1)),
        ] {
            var frame = try message.encoded()
            frame[8] = 77
            var frames = FrameBuffer()
            frames.append(frame)
            #expect(throws: WireError.self) { try frames.next() }
        }
    }

    @Test("A table's count must be what has come", arguments: [0, 1, 3, 0xffff_ffff])
    func tableCounts(count: Int) throws {
        let entries = [1, 2].map { SurveyEntry(description: $0, device: 2, inode: 3) }
        let words = entries.map { Assigned(identity: $0.inode, isOwner: true, isShared: true) }
        let children = Children(generation: 1, processes: [ChildProcess(pid: 1), ChildProcess(pid: 2)])
        let messages: [(Message, Int)] = [
            (.survey(Survey(generation: 1, entries: entries)), 4),
            (.assignment(Assignment(generation: 1, entries: words)), 4), (.children(children), 8),
            (.assignment(Assignment(generation: 1, entries: words, stopped: [1, 2])), 8),
        ]
        for (message, place) in messages {
            var frame = try message.encoded()
            let wrong = withUnsafeBytes(of: UInt32(count).littleEndian) { Array($0) }
            frame.replaceSubrange(8 + place..<12 + place, with: wrong)
            var frames = FrameBuffer()
            frames.append(frame)
            #expect(throws: WireError.self) { try frames.next() }
        }
    }

    @Test("A kind that no survey has is refused; a long table is read where other frames must be short")
    func tables() throws {
        let entry = SurveyEntry(description: 1, device: 2, inode: 3)
        var frame = try Message.survey(Survey(generation: 1, entries: [entry])).encoded()
        frame[16] = 77
        var frames = FrameBuffer()
        frames.append(frame)
        #expect(throws: WireError.self) { try frames.next() }
        let long = Message.survey(Survey(generation: 1, entries: [SurveyEntry](repeating: entry, count: 10_000)))
        frames = FrameBuffer(maximum: 4096)
        frames.append(try long.encoded())
        #expect(try frames.next() == long)
    }

    @Test(
        "Generations that an image cannot need are refused",
        arguments: [[], [0], [0, 1], [9], [10], [2, 2], [3, 2], Array(1...64)])
    func ancestors(needed: [UInt32]) throws {
        var frames = FrameBuffer()
        frames.append(
            try Message.ancestors(Ancestors(generation: needed.count > 60 ? 99 : 9, needed: needed)).encoded())
        #expect(throws: WireError.self) { try frames.next() }
    }

    @Test("File pages that an image cannot need are refused", arguments: [[0], [10], [2, 2], [3, 2], Array(1...64)])
    func filePages(numbers: [UInt32]) throws {
        var frames = FrameBuffer()
        frames.append(
            try Message.ancestors(
                Ancestors(generation: numbers.count > 60 ? 99 : 9, needed: [1], filePages: numbers)
            ).encoded())
        #expect(throws: WireError.self) { try frames.next() }
    }

    @Test("Bytes that are no UTF-8 become a text all the same")
    func notUTF8() throws {
        var frame = try Message.hello(
            Hello(ownPid: 1, name: "ab", computation: "c", checkpointDirectory: "/")
        ).encoded()
        frame[8 + 16] = 0xff
        var frames = FrameBuffer()
        frames.append(frame)
        guard case .hello(let hello)? = try frames.next() else {
            Issue.record("no HELLO")
            return
        }
        #expect(hello.name == "\u{fffd}b")
    }

    @Test("Random bytes never crash the reader")
    func noise() {
        var numbers = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var frames = FrameBuffer(maximum: 32 << 10)
            let length = Int.random(in: 0..<600, using: &numbers)
            var bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &numbers) }
            if bytes.count > 8 {  // often enough a plausible header
                let types: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
                bytes.replaceSubrange(
                    0..<8, with: [UInt8(length & 0xff), UInt8(length >> 8), 0, 0, 3, 0, types.randomElement() ?? 1, 0])
            }
            frames.append(bytes)
            while (try? frames.next()) ?? nil != nil {}
        }
    }

    @Test("Several messages in one piece, and pieces across messages, come out in order")
    func pieces() throws {
        let messages = Self.everyMessage
        let stream = try messages.flatMap { try $0.encoded() }
        for size in [1, 7, 4096, stream.count] {
            var frames = FrameBuffer()
            var seen: [Message] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                frames.append(stream[start..<min(start + size, stream.count)])
                while let message = try frames.next() { seen.append(message) }
            }
            #expect(seen == messages)
        }
    }

    @Test("What does not fit a field: names are refused, sentences cut at a character, words left out")
    func tooLong() throws {
        let long = String(repeating: "x", count: 64)
        #expect(throws: WireError.self) { try Message.request(Request(.status, computation: long)).encoded() }
        #expect(throws: WireError.self) { try Message.request(Request(.status, computation: "a\0b")).encoded() }
        let sentence = String(repeating: "ä", count: 600)
        var frames = FrameBuffer()
        frames.append(try Message.abort(Text(text: sentence)).encoded())
        #expect(try frames.next() == .abort(Text(text: String(sentence.prefix(507)))))
        var launch = GoldenBytesTests.launch
        launch.command = ["a", String(repeating: "b", count: 4095), "c"]
        frames.append(try Message.launch(launch).encoded())
        launch.command = ["a"]
        #expect(try frames.next() == .launch(launch))
    }
}
