import CSwiftCP

extension Message {
    /// Reads the payload of a frame of this type. Everything is checked: sizes, ends of texts, numbers of enumerations.
    static func decode(type: UInt16, payload: ArraySlice<UInt8>) throws(WireError) -> Message {
        switch scp_message(UInt32(type)) {
        case SCP_MESSAGE_HELLO: .hello(try read(payload, "HELLO", Hello.init))
        case SCP_MESSAGE_WELCOME: .welcome(try read(payload, "WELCOME", Welcome.init))
        case SCP_MESSAGE_CHECKPOINT: .checkpoint(try read(payload, "CHECKPOINT", CheckpointOrder.init))
        case SCP_MESSAGE_STAGE: .stage(try read(payload, "STAGE", StageReport.init))
        case SCP_MESSAGE_GO: .go(try read(payload, "GO", StageGo.init))
        case SCP_MESSAGE_ABORT: .abort(try read(payload, "ABORT", Text.init))
        case SCP_MESSAGE_FAILED: .failed(try read(payload, "FAILED", Text.init))
        case SCP_MESSAGE_KILL: try read(payload, "KILL") { _ throws(WireError) in .kill }
        case SCP_MESSAGE_ASK: .ask(try read(payload, "ASK", Ask.init))
        case SCP_MESSAGE_ANSWER: .answer(try read(payload, "ANSWER", Text.init))
        case SCP_MESSAGE_CHILDREN: .children(try read(payload, "CHILDREN", Children.init))
        case SCP_MESSAGE_SURVEY: .survey(try read(payload, "SURVEY", Survey.init))
        case SCP_MESSAGE_ASSIGNMENT: .assignment(try read(payload, "ASSIGNMENT", Assignment.init))
        case SCP_MESSAGE_SNAPSHOT: .snapshot(try read(payload, "SNAPSHOT", Text.init))
        case SCP_MESSAGE_ANCESTORS: .ancestors(try read(payload, "ANCESTORS", Ancestors.init))
        case SCP_MESSAGE_LAUNCH: .launch(try read(payload, "LAUNCH", Launch.init))
        case SCP_MESSAGE_LAUNCHED: .launched(try read(payload, "LAUNCHED", Launched.init))
        case SCP_MESSAGE_REQUEST: .request(try read(payload, "REQUEST", Request.init))
        case SCP_MESSAGE_REPLY: .reply(String(decoding: payload, as: UTF8.self))
        default: throw WireError(.malformed, "a message of the unknown type \(type)")
        }
    }

    private static func read<Value>(
        _ payload: ArraySlice<UInt8>, _ what: String,
        _ body: (inout PayloadReader) throws(WireError) -> Value
    ) throws(WireError) -> Value {
        var reader = PayloadReader(payload, what: what)
        let value = try body(&reader)
        try reader.finish()
        return value
    }
}

/// An enumeration's case by its number on the wire.
private func known<Value: RawRepresentable>(
    _ raw: Value.RawValue, _ what: String
) throws(WireError) -> Value {
    guard let value = Value(rawValue: raw) else { throw WireError(.malformed, "\(what) \(raw) is unknown") }
    return value
}

extension Hello {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        ownPid = try reader.integer()
        ownParent = try reader.integer()
        restarted = try reader.integer(UInt32.self) != 0
        generation = try reader.integer()
        name = try reader.text(size: 64)
        computation = try reader.text(size: 64)
        checkpointDirectory = try reader.text(size: 4096)
        try reader.skip(64)
    }
}

extension Welcome {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        error = try reader.integer()
        try reader.skip(4)
        text = try reader.text(size: 248)
    }
}

extension CheckpointOrder {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        generation = try reader.integer()
        flags = try reader.integer()
        stageLimit = try reader.integer()
        quiesceLimit = try reader.integer()
        snapshot = try known(reader.integer(), "snapshot mode")
        compression = try reader.integer()
        ioLimit = try reader.integer()
        incremental = try reader.integer()
        (stoppedBy, stoppedAmong) = (try reader.integer(), try reader.integer())
        path = try reader.text(size: 4096)
    }
}

extension StageReport {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        stage = try known(reader.integer(), "stage")
        generation = try reader.integer()
        pause = try reader.integer()
        bytesWritten = try reader.integer()
        memoryBytes = try reader.integer()
        metadataChecksum = try reader.integer()
        threads = try reader.integer()
        regions = try reader.integer()
        descriptors = try reader.integer()
        snapshot = try known(reader.integer(), "snapshot mode")
    }
}

extension Ancestors {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        generation = try reader.integer()
        let count = try reader.integer(UInt32.self), pages = try reader.integer(UInt32.self)
        try reader.skip(4)
        let limit = UInt32(SCP_ANCESTORS_MAXIMUM)
        guard count <= limit, pages <= limit, count + pages > 0 else { throw Self.impossible }
        let numbers = try reader.records(count + pages) { (number: UInt32) in number }
        (needed, filePages) = (Array(numbers.prefix(Int(count))), Array(numbers.dropFirst(Int(count))))
        guard Self.ascends(needed), Self.ascends(filePages), needed.allSatisfy({ $0 < generation }),
            filePages.allSatisfy({ $0 <= generation })
        else { throw Self.impossible }
    }

    private static func ascends(_ numbers: [UInt32]) -> Bool {
        numbers.first != 0 && zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 }
    }

    private static var impossible: WireError {
        WireError(.malformed, "the generations that an image needs are impossible")
    }
}

extension StageGo {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        stage = try known(reader.integer(), "stage")
        generation = try reader.integer()
        processes = try reader.integer()
        try reader.skip(4)
    }
}

extension Text {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        error = try reader.integer()
        generation = try reader.integer()
        text = try reader.text(size: 1016)
    }
}

extension Ask {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        kind = try known(reader.integer(), "kind of question")
        signal = try reader.integer()
    }
}

extension Children {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        generation = try reader.integer()
        hasForked = try reader.integer(UInt32.self) & UInt32(SCP_CHILDREN_HAS_FORKED.rawValue) != 0
        let count = try reader.integer(UInt32.self)
        try reader.skip(4)
        processes = try reader.records(count) { (record: scp_child_process) in
            ChildProcess(pid: record.pid, isZombie: record.flags & UInt32(SCP_CHILD_ZOMBIE.rawValue) != 0)
        }
    }
}

extension Survey {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        generation = try reader.integer()
        let count = try reader.integer(UInt32.self)
        let known = try reader.records(count) { (record: scp_survey_entry) in
            SurveyEntry.Kind(rawValue: record.kind).map { kind in
                SurveyEntry(
                    kind: kind, number: record.number, device: record.device, inode: record.inode,
                    offset: record.offset, length: record.length)
            }
        }
        entries = known.compactMap(\.self)
        guard entries.count == known.count else { throw WireError(.malformed, "a kind in a survey is unknown") }
    }
}

extension Assignment {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        generation = try reader.integer()
        let count = try reader.integer(UInt32.self), children = try reader.integer(UInt32.self)
        try reader.skip(4)
        entries = try reader.records(count) { (record: scp_assigned) in
            Assigned(
                identity: record.identity, isOwner: record.flags & SCP_ASSIGNED_OWNER.rawValue != 0,
                isShared: record.flags & SCP_ASSIGNED_SHARED.rawValue != 0)
        }
        stopped = try reader.records(children) { (pid: UInt32) in pid }
    }
}

extension Launch {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        pid = try reader.integer()
        let flags = try reader.integer(UInt32.self)
        join = flags & SCP_LAUNCH_JOIN.rawValue != 0
        restart = flags & SCP_LAUNCH_RESTART.rawValue != 0
        auto = flags & SCP_LAUNCH_AUTO.rawValue != 0
        processes = try reader.integer()
        generation = try reader.integer()
        keep = try reader.integer()
        snapshot = try known(reader.integer(), "snapshot mode")
        checkpointFlags = try reader.integer()
        let hasInterval = try reader.integer(UInt32.self) != 0
        let microseconds = try reader.integer(UInt64.self)
        interval = hasInterval ? microseconds : nil
        compression = try reader.integer()
        ioLimit = try reader.integer()
        incremental = try reader.integer()
        try reader.skip(4)
        name = try reader.text(size: 64)
        computation = try reader.text(size: 64)
        checkpointDirectory = try reader.text(size: 4096)
        command = try reader.words(size: 4096)
        directory = try reader.text(size: 4096)
    }
}

extension Launched {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        error = try reader.integer()
        coordinatorPid = try reader.integer()
        computation = try reader.text(size: 64)
        text = try reader.text(size: 440)
    }
}

extension Request {
    fileprivate init(from reader: inout PayloadReader) throws(WireError) {
        verb = try known(reader.integer(), "request")
        noWait = try reader.integer(UInt32.self) & UInt32(SCP_REQUEST_NO_WAIT.rawValue) != 0
        interval = try reader.integer()
        computation = try reader.text(size: 64)
    }
}
