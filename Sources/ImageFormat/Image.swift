import CSwiftCP

/// One checkpoint image, open, with every record checked: the reader's side of `swiftcp_format.h`.
///
/// What the initialiser has accepted can be used without further checks: indices and string offsets are in range,
/// regions ascend and do not overlap, blocks lie in one region and their bytes between first page and metadata, no two
/// of them share a byte of the file. The checksum of the metadata is right. The contents of blocks and blobs are *not*
/// checked: `verify` does that, in the time it takes to read the file.
///
/// The picture of the format stands in Metadata.swift.
public struct Image: Sendable {
    public let file: ImageFile
    public let header: scp_image_header
    /// Ascending by address, not overlapping.
    public let regions: [scp_region]
    /// Ascending by address, not overlapping.
    public let blocks: [scp_block]
    /// What the blocks of a compressed image stand in, ascending by place, not overlapping; empty: not compressed.
    public let chunks: [scp_chunk]
    /// Files that hold some of the blocks: earlier images of the process, file pages; empty: the image stands alone.
    public let needs: [scp_ancestor]
    /// Those, open and compared with what `needs` says of them; empty when it was opened without.
    public let ancestors: [ContentFile]
    public let blobs: [scp_blob]
    /// The leader first, the checkpoint thread last.
    public let threads: [scp_thread]
    public let process: scp_process
    /// 64 of them, index = signal - 1.
    public let actions: [scp_action]
    public let pending: [scp_pending]
    public let timers: [scp_timer]
    /// Ascending by number.
    public let descriptors: [scp_descriptor]
    public let objects: [scp_object]
    public let watches: [scp_watch]
    public let locks: [scp_lock]
    /// Children that have ended and wait to be waited for.
    public let zombies: [scp_zombie]
    /// Pairs of type and value, the last of type 0.
    public let auxiliaryVector: [UInt64]
    /// For each region, which blocks are its.
    public let blocksOfRegion: [Range<Int>]
    public let programHeaderCount: Int
    private let strings: [UInt8]

    public var path: String { file.path }

    /// Opens and checks the image at `path` and those that it needs; everything but the contents of blocks and blobs.
    ///
    /// - Parameter alone: those that it needs are not looked for; blocks in them cannot be read then.
    /// - Parameter filePages: those that are open already, of other images of the generation.
    public init(
        path: String, alone: Bool = false, filePages: OpenedFilePages = OpenedFilePages()
    ) throws(ImageError) {
        try self.init(ImageFile(path: path), alone: alone, filePages)
    }

    private init(_ file: ImageFile, alone: Bool, _ filePages: OpenedFilePages) throws(ImageError) {
        let metadata = try Metadata(file)
        self.file = file
        header = metadata.header
        programHeaderCount = metadata.programHeaders.count
        strings = try metadata.records(SCP_NOTE_STRINGS, as: UInt8.self)
        regions = try metadata.records(SCP_NOTE_REGIONS, as: scp_region.self)
        blocks = try metadata.records(SCP_NOTE_BLOCKS, as: scp_block.self)
        chunks = try metadata.records(SCP_NOTE_CHUNKS, as: scp_chunk.self)
        needs = try metadata.records(SCP_NOTE_ANCESTORS, as: scp_ancestor.self)
        blobs = try metadata.records(SCP_NOTE_BLOBS, as: scp_blob.self)
        threads = try metadata.records(SCP_NOTE_THREADS, as: scp_thread.self)
        let processes = try metadata.records(SCP_NOTE_PROCESS, as: scp_process.self)
        guard processes.count == 1 else {
            throw ImageError(.damaged, file.path, "it has \(processes.count) process records")
        }
        process = processes[0]
        actions = try metadata.records(SCP_NOTE_ACTIONS, as: scp_action.self)
        pending = try metadata.records(SCP_NOTE_PENDING, as: scp_pending.self)
        timers = try metadata.records(SCP_NOTE_TIMERS, as: scp_timer.self)
        descriptors = try metadata.records(SCP_NOTE_DESCRIPTORS, as: scp_descriptor.self)
        objects = try metadata.records(SCP_NOTE_OBJECTS, as: scp_object.self)
        watches = try metadata.records(SCP_NOTE_WATCHES, as: scp_watch.self)
        locks = try metadata.records(SCP_NOTE_LOCKS, as: scp_lock.self)
        zombies = try metadata.records(SCP_NOTE_ZOMBIES, as: scp_zombie.self)
        auxiliaryVector = try metadata.records(SCP_NOTE_AUXV, as: UInt64.self)
        blocksOfRegion = try Self.assign(blocks, to: regions, path: file.path)
        let owner = Owner(
            path: file.path, generation: header.generation, pid: process.pid, computation: header.computation,
            strings: strings)
        ancestors = alone ? [] : try Self.open(needs, of: owner, filePages)
        try checkMemory()
        try checkNeeds()
        try checkChunks()
        try checkExtents()
        if isCompressed { try checkContent() }
        try checkProcess()
        try checkDescriptors()
        if !alone { try checkInherited() }
    }

    // MARK: - Strings

    /// The whole table: NUL-terminated strings, offset 0 is the empty one.
    public var stringTable: [UInt8] { strings }

    /// The bytes of string number `offset`, without the NUL; paths need not be UTF-8.
    public func stringBytes(_ offset: UInt32) -> [UInt8] {
        guard offset < strings.count else { return [] }
        return Array(strings[Int(offset)...].prefix { $0 != 0 })
    }

    /// The string as text, wrong UTF-8 replaced: for people, not for `open`.
    public func string(_ offset: UInt32) -> String { String(decoding: stringBytes(offset), as: UTF8.self) }

    /// Throws unless every offset in `offsets` is that of a string.
    func checkStrings(_ offsets: UInt32..., of what: @autoclosure () -> String) throws(ImageError) {
        for offset in offsets where offset >= strings.count {
            throw damaged("the text of \(what()) is out of range")
        }
    }

    /// Offset 0 must be the empty string, and the last string must end.
    func checkStringTable() throws(ImageError) {
        guard strings.first == 0, strings.last == 0 else { throw damaged("its table of strings has no end") }
    }

    // MARK: - Errors

    func damaged(_ what: String) -> ImageError { ImageError(.damaged, path, what) }
}

extension scp_thread {
    /// The thread's name, wrong UTF-8 replaced.
    public var text: String {
        withUnsafeBytes(of: name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    public var isCheckpointThread: Bool { flags & SCP_THREAD_CHECKPOINT.rawValue != 0 }
}

extension scp_block {
    /// Guard pages have nothing stored.
    public var isGuard: Bool { flags & SCP_BLOCK_GUARD.rawValue != 0 }
    /// Its bytes stand in the image itself, not in an earlier one.
    public var isOwn: Bool { file == 0 && !isGuard }
}
