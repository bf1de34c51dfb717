import CSwiftCP

// What a record must satisfy before anything uses it. Each check names the record that fails.

/// No user address is beyond this (five-level page tables).
private let addressEnd: UInt64 = 1 << 56
/// Largest number that the kernel gives to a process or thread (PID_MAX_LIMIT).
private let largestPid: UInt32 = 4_194_304

extension UInt64 {
    fileprivate var isPageAligned: Bool { self % UInt64(SCP_DATA_OFFSET) == 0 }
}

// MARK: - Memory

extension Image {
    /// Finds each region's blocks; throws when a block is in none, or out of order.
    static func assign(
        _ blocks: [scp_block], to regions: [scp_region], path: String
    ) throws(ImageError) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        ranges.reserveCapacity(regions.count)
        var next = 0
        var floor: UInt64 = 0
        for region in regions {
            let first = next
            while next < blocks.count, blocks[next].address < region.end {
                let block = blocks[next]
                guard block.address >= region.start, block.address >= floor, block.length > 0,
                    block.length <= region.end - block.address
                else { break }
                floor = block.address + block.length
                next += 1
            }
            ranges.append(first..<next)
        }
        guard next == blocks.count else {
            throw ImageError(
                .damaged, path,
                "memory block \(next) at \(hexadecimal(blocks[next].address)) is out of order or outside its regions")
        }
        return ranges
    }

    func checkMemory() throws(ImageError) {
        try checkStringTable()
        var end: UInt64 = 0
        for (index, region) in regions.enumerated() {
            guard region.start.isPageAligned, region.end.isPageAligned, region.start < region.end,
                region.start >= end, region.end <= addressEnd
            else { throw damaged("region \(index) at \(hexadecimal(region.start)) overlaps another or has no extent") }
            guard (SCP_REGION_ANONYMOUS.rawValue...SCP_REGION_DEVICE_ZERO.rawValue).contains(region.kind),
                region.protection <= 7, region.file_offset.isPageAligned
            else { throw damaged("region \(index) at \(hexadecimal(region.start)) is of an unknown kind") }
            try checkStrings(region.path, of: "region \(index)")
            end = region.end
        }
        guard !regions.isEmpty else { throw damaged("it has no memory at all") }
        for (index, block) in blocks.enumerated() { try check(block, index) }
    }

    private func check(_ block: scp_block, _ index: Int) throws(ImageError) {
        // Called only to be told: images have 100,000 blocks, and a name takes longer than all that is checked here.
        func bad(_ what: String) -> ImageError {
            damaged("memory block \(index) at \(hexadecimal(block.address)) \(what)")
        }
        guard block.address.isPageAligned, block.length.isPageAligned else { throw bad("is no whole page") }
        guard block.encoding == SCP_ENCODING_RAW.rawValue else {
            throw bad("is of unknown encoding \(block.encoding)")
        }
        guard block.file <= needs.count, block.reserved == 0 else {
            throw bad("is in an image that it does not name")
        }
        if block.isGuard {
            guard block.stored_length == 0, block.checksum == 0, block.file == 0 else {
                throw bad("guards, but has content")
            }
        } else {
            guard block.length <= UInt64(SCP_BLOCK_MAXIMUM), block.stored_length == block.length else {
                throw bad("has an impossible length")
            }
        }
    }

    // MARK: Extents

    /// Every stretch between first page and metadata that something owns, ascending; throws when one lies outside or
    /// two share a byte.
    func checkExtents() throws(ImageError) {
        var end = UInt64(SCP_DATA_OFFSET)
        for piece in extentOrder() {
            let (offset, length) = place(piece)
            guard isChunk(piece) || offset.isPageAligned, offset >= UInt64(SCP_DATA_OFFSET),
                offset <= header.metadata_offset,
                length <= header.metadata_offset - offset
            else { throw damaged("\(name(piece)) is outside the file") }
            guard offset >= end else { throw damaged("\(name(piece)) shares bytes of the file with another") }
            end = offset + (isChunk(piece) ? length : length.roundedToPages)
        }
    }

    /// A block, a chunk or a blob (its index).
    enum Piece {
        case block(Int)
        case chunk(Int)
        case blob(Int)
    }

    private func isChunk(_ piece: Piece) -> Bool {
        if case .chunk = piece { true } else { false }
    }

    /// All pieces that the file holds, ascending by their place in it; of a compressed image chunks in place of blocks.
    func extentOrder() -> [Piece] {
        let stored =
            isCompressed
            ? chunks.indices.map { Piece.chunk($0) }
            : blocks.indices.filter { blocks[$0].isOwn }.map { Piece.block($0) }
        let pieces = stored + blobs.indices.filter { blobs[$0].length > 0 }.map { Piece.blob($0) }
        return pieces.sorted { place($0).offset < place($1).offset }
    }

    /// Where a piece stands in the file, in bytes.
    func place(_ piece: Piece) -> (offset: UInt64, length: UInt64) {
        switch piece {
        case .block(let index): (blocks[index].offset, blocks[index].stored_length)
        case .chunk(let index): (chunks[index].offset, chunks[index].stored_length)
        case .blob(let index): (blobs[index].offset, blobs[index].length)
        }
    }

    func name(_ piece: Piece) -> String {
        switch piece {
        case .block(let index):
            "memory block \(index) at \(hexadecimal(blocks[index].address)) (region \(regionIndex(ofBlock: index)))"
        case .chunk(let index): "chunk \(index)"
        case .blob(let index): "content \(index)"
        }
    }

    func regionIndex(ofBlock block: Int) -> Int {
        blocksOfRegion.firstIndex { $0.contains(block) } ?? 0
    }
}

extension UInt64 {
    /// Up to the next whole page. The caller knows that it is far from the end of the numbers.
    var roundedToPages: UInt64 { (self + UInt64(SCP_DATA_OFFSET) - 1) & ~(UInt64(SCP_DATA_OFFSET) - 1) }
}

func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

// MARK: - Process and threads

extension Image {
    func checkProcess() throws(ImageError) {
        try checkStrings(
            header.kernel_release, header.host_name, header.computation, header.libc_version, of: "the header")
        try checkStrings(
            process.command, process.executable, process.directory, process.root, process.terminal, of: "the process")
        guard isPid(process.pid) else { throw damaged("\(process.pid) is no process id") }
        guard actions.count == 64 else { throw damaged("it has the actions of \(actions.count) signals, not 64") }
        let tids = try checkThreads()
        try checkFamily(tids)
        for signal in pending where signal.tid != 0 && !tids.contains(signal.tid) {
            throw damaged("a signal is pending for thread \(signal.tid), which it does not have")
        }
        guard auxiliaryVector.isEmpty || (auxiliaryVector.count % 2 == 0 && auxiliaryVector.dropLast().last == 0) else {
            throw damaged("its auxiliary vector has no end")
        }
    }

    /// The leader first, the checkpoint thread last, no tid twice.
    private func checkThreads() throws(ImageError) -> Set<UInt32> {
        guard threads.count >= 2, threads.first?.tid == process.pid else {
            throw damaged("its main thread is missing")
        }
        var tids = Set<UInt32>()
        for (index, thread) in threads.enumerated() {
            guard isPid(thread.tid), tids.insert(thread.tid).inserted else {
                throw damaged("thread \(index) has the impossible id \(thread.tid)")
            }
            let isLeader = thread.flags & SCP_THREAD_LEADER.rawValue != 0
            guard isLeader == (index == 0), thread.isCheckpointThread == (index == threads.count - 1) else {
                throw damaged("thread \(thread.tid) stands in the wrong place")
            }
        }
        return tids
    }

    /// What the process tree is planned from.
    private func checkFamily(_ tids: Set<UInt32>) throws(ImageError) {
        for (number, what) in [(process.ppid, "parent"), (process.pgid, "process group"), (process.sid, "session")] {
            guard number <= largestPid else { throw damaged("\(number) is no number of a \(what)") }
        }
        guard process.exit_signal <= 64, process.root_process <= 1 else {
            throw damaged("the signal \(process.exit_signal) for its parent is out of range")
        }
        var known = tids
        for zombie in zombies {
            guard isPid(zombie.pid), known.insert(zombie.pid).inserted, zombie.pgid <= largestPid,
                zombie.sid <= largestPid, zombie.exit_signal <= 64, (0...0xffff).contains(zombie.status)
            else { throw damaged("the ended child \(zombie.pid) is impossible") }
        }
    }

    private func isPid(_ number: UInt32) -> Bool { number > 0 && number <= largestPid }
}

// MARK: - Descriptors

extension Image {
    func checkDescriptors() throws(ImageError) {
        for (index, object) in objects.enumerated() {
            guard
                (SCP_OBJECT_FILE.rawValue...SCP_OBJECT_TERMINAL_MASTER.rawValue).contains(object.kind)
                    || object.kind == SCP_OBJECT_MESSAGE_QUEUE.rawValue
            else {
                throw damaged("open file \(index) is of an unknown kind")
            }
            guard object.blob == SCP_NO_BLOB || object.blob < blobs.count else {
                throw damaged("the content of open file \(index) is out of range")
            }
            try checkStrings(object.path, object.socket, of: "open file \(index)")
        }
        var last: Int32 = -1
        for descriptor in descriptors {
            guard descriptor.number > last, descriptor.object < objects.count, descriptor.close_on_exec <= 1 else {
                throw damaged("descriptor \(descriptor.number) is out of order or refers to nothing")
            }
            last = descriptor.number
        }
        try checkWatches()
        for (index, lock) in locks.enumerated() {
            guard (SCP_LOCK_POSIX.rawValue...SCP_LOCK_LEASE.rawValue).contains(lock.kind), lock.object < objects.count
            else { throw damaged("file lock \(index) refers to nothing") }
        }
    }

    private func checkWatches() throws(ImageError) {
        for (index, watch) in watches.enumerated() {
            guard watch.object < objects.count, watch.target_object >= -1, watch.target_object < objects.count else {
                throw damaged("watch \(index) refers to nothing")
            }
            let kind = objects[Int(watch.object)].kind
            guard kind == SCP_OBJECT_EPOLL.rawValue || kind == SCP_OBJECT_INOTIFY.rawValue else {
                throw damaged("watch \(index) belongs to an object that watches nothing")
            }
            try checkStrings(watch.path, of: "watch \(index)")
        }
    }
}
