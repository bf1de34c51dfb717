import CSwiftCP

/// Bytes of `struct scp_frame`.
let frameHeaderLength = MemoryLayout<scp_frame>.size

extension Message {
    /// The type number in a frame.
    public var type: UInt16 {
        let number =
            switch self {
            case .hello: SCP_MESSAGE_HELLO
            case .welcome: SCP_MESSAGE_WELCOME
            case .checkpoint: SCP_MESSAGE_CHECKPOINT
            case .stage: SCP_MESSAGE_STAGE
            case .go: SCP_MESSAGE_GO
            case .abort: SCP_MESSAGE_ABORT
            case .failed: SCP_MESSAGE_FAILED
            case .kill: SCP_MESSAGE_KILL
            case .ask: SCP_MESSAGE_ASK
            case .answer: SCP_MESSAGE_ANSWER
            case .children: SCP_MESSAGE_CHILDREN
            case .survey: SCP_MESSAGE_SURVEY
            case .assignment: SCP_MESSAGE_ASSIGNMENT
            case .snapshot: SCP_MESSAGE_SNAPSHOT
            case .ancestors: SCP_MESSAGE_ANCESTORS
            case .launch: SCP_MESSAGE_LAUNCH
            case .launched: SCP_MESSAGE_LAUNCHED
            case .request: SCP_MESSAGE_REQUEST
            case .reply: SCP_MESSAGE_REPLY
            }
        return UInt16(number.rawValue)
    }

    /// The whole frame. Throws when a name or path does not fit its field; sentences are cut instead.
    public func encoded() throws(WireError) -> [UInt8] {
        let payload = try payload()
        let length = frameHeaderLength + payload.count
        guard length <= Int(SCP_FRAME_MAXIMUM) else {
            throw WireError(.tooLong, "a message of \(length) bytes is longer than \(SCP_FRAME_MAXIMUM)")
        }
        var frame = PayloadWriter(capacity: length)
        frame.integer(UInt32(length))
        frame.integer(UInt16(SCP_PROTOCOL_VERSION))
        frame.integer(type)
        frame.raw(payload)
        return frame.bytes
    }

    private func payload() throws(WireError) -> [UInt8] {
        var out = PayloadWriter()
        switch self {
        case .hello(let hello): try hello.write(to: &out)
        case .welcome(let welcome):
            out.integer(welcome.error)
            out.zeros(4)
            out.message(welcome.text, size: 248)
        case .checkpoint(let order):
            out.integer(order.generation)
            out.integer(order.flags)
            out.integer(order.stageLimit)
            out.integer(order.quiesceLimit)
            out.integer(order.snapshot.rawValue)
            out.integer(order.compression)
            out.integer(order.ioLimit)
            out.integer(order.incremental)
            out.integer(order.stoppedBy)
            out.integer(order.stoppedAmong)
            try out.text(order.path, size: 4096, field: "the image's path")
        case .stage(let report): report.write(to: &out)
        case .go(let go):
            out.integer(go.stage.rawValue)
            out.integer(go.generation)
            out.integer(go.processes)
            out.zeros(4)
        case .abort(let text), .failed(let text), .answer(let text), .snapshot(let text):
            out.integer(text.error)
            out.integer(text.generation)
            out.message(text.text, size: 1016)
        case .kill: break
        case .ask(let ask):
            out.integer(ask.kind.rawValue)
            out.integer(ask.signal)
        case .children(let children): children.write(to: &out)
        case .survey(let survey): survey.write(to: &out)
        case .assignment(let assignment): assignment.write(to: &out)
        case .ancestors(let ancestors):
            out.integer(ancestors.generation)
            out.integer(UInt32(ancestors.needed.count))
            out.integer(UInt32(ancestors.filePages.count))
            out.integer(UInt32(0))
            for number in ancestors.needed + ancestors.filePages { out.integer(number) }
        case .launch(let launch): try launch.write(to: &out)
        case .launched(let launched):
            out.integer(launched.error)
            out.integer(launched.coordinatorPid)
            try out.text(launched.computation, size: 64, field: "the computation's id")
            out.message(launched.text, size: 440)
        case .request(let request):
            out.integer(request.verb.rawValue)
            out.integer(request.noWait ? UInt32(SCP_REQUEST_NO_WAIT.rawValue) : 0)
            out.integer(request.interval)
            try out.text(request.computation, size: 64, field: "the computation's id")
        case .reply(let text): out.raw(Array(text.utf8))
        }
        return out.bytes
    }
}

extension Hello {
    fileprivate func write(to out: inout PayloadWriter) throws(WireError) {
        out.integer(ownPid)
        out.integer(ownParent)
        out.integer(UInt32(restarted ? 1 : 0))
        out.integer(generation)
        try out.text(name, size: 64, field: "the process's name")
        try out.text(computation, size: 64, field: "the computation's id")
        try out.text(checkpointDirectory, size: 4096, field: "the checkpoint folder's path")
        out.zeros(64)
    }
}

extension StageReport {
    fileprivate func write(to out: inout PayloadWriter) {
        out.integer(stage.rawValue)
        out.integer(generation)
        out.integer(pause)
        out.integer(bytesWritten)
        out.integer(memoryBytes)
        out.integer(metadataChecksum)
        out.integer(threads)
        out.integer(regions)
        out.integer(descriptors)
        out.integer(snapshot.rawValue)
    }
}

extension Children {
    fileprivate func write(to out: inout PayloadWriter) {
        out.integer(generation)
        out.integer(hasForked ? UInt32(SCP_CHILDREN_HAS_FORKED.rawValue) : 0)
        out.integer(UInt32(processes.count))
        out.zeros(4)
        for process in processes {
            out.integer(process.pid)
            out.integer(process.isZombie ? UInt32(SCP_CHILD_ZOMBIE.rawValue) : 0)
        }
    }
}

extension Survey {
    fileprivate func write(to out: inout PayloadWriter) {
        out.integer(generation)
        out.integer(UInt32(entries.count))
        out.records(entries) { entry in
            scp_survey_entry(
                kind: entry.kind.rawValue, number: entry.number, device: entry.device, inode: entry.inode,
                offset: entry.offset, length: entry.length)
        }
    }
}

extension Assignment {
    fileprivate func write(to out: inout PayloadWriter) {
        out.integer(generation)
        out.integer(UInt32(entries.count))
        out.integer(UInt32(stopped.count))
        out.zeros(4)
        out.records(entries) { entry in
            scp_assigned(
                identity: entry.identity,
                flags: (entry.isOwner ? SCP_ASSIGNED_OWNER.rawValue : 0)
                    | (entry.isShared ? SCP_ASSIGNED_SHARED.rawValue : 0),
                reserved: 0)
        }
        out.records(stopped) { $0 }
    }
}

extension Launch {
    fileprivate var flags: UInt32 {
        var flags: UInt32 = 0
        if join { flags |= SCP_LAUNCH_JOIN.rawValue }
        if restart { flags |= SCP_LAUNCH_RESTART.rawValue }
        if auto { flags |= SCP_LAUNCH_AUTO.rawValue }
        return flags
    }

    fileprivate func write(to out: inout PayloadWriter) throws(WireError) {
        for value in [pid, flags, processes, generation, keep, snapshot.rawValue, checkpointFlags] {
            out.integer(value)
        }
        out.integer(UInt32(interval == nil ? 0 : 1))
        out.integer(interval ?? 0)
        out.integer(compression)
        out.integer(ioLimit)
        out.integer(incremental)
        out.zeros(4)
        try out.text(name, size: 64, field: "the computation's name")
        try out.text(computation, size: 64, field: "the computation's id")
        try out.text(checkpointDirectory, size: 4096, field: "the checkpoint folder's path")
        out.words(command, size: 4096)
        try out.text(directory, size: 4096, field: "the working directory's path")
    }
}
