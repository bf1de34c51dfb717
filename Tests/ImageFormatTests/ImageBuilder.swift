import CSwiftCP
import Glibc

/// Makes small images byte by byte, as the shim would. Every table can be changed before `bytes()`, which lays the file
/// out and computes the checksums, so that a hostile table arrives with a right checksum.
struct ImageBuilder {
    static let page = 4096

    var header = scp_image_header()
    var strings: [UInt8] = [0]
    var regions: [scp_region] = []
    var blocks: [scp_block] = []
    /// With chunks the image is a compressed one: offsets of blocks count in its content.
    var chunks: [scp_chunk] = []
    var needs: [scp_ancestor] = []
    var blobs: [scp_blob] = []
    var threads: [scp_thread] = []
    var process = scp_process()
    var actions = [scp_action](repeating: scp_action(), count: 64)
    var pending: [scp_pending] = []
    var timers: [scp_timer] = []
    var descriptors: [scp_descriptor] = []
    var objects: [scp_object] = []
    var watches: [scp_watch] = []
    var locks: [scp_lock] = []
    var zombies: [scp_zombie] = []
    var auxiliaryVector: [UInt64] = [6, 4096, 0, 0]

    /// Bytes from offset 4096 on.
    var data: [UInt8] = []
    /// What the program headers describe; nil = the blocks. To keep them right when a block is made hostile.
    var segments: [scp_block]?
    /// Notes that are left out.
    var omitted: Set<UInt32> = []
    /// Notes written a second time.
    var repeated: Set<UInt32> = []
    /// Bytes added to the descriptor of a note.
    var padding: [UInt32: Int] = [:]
    /// The number of program headers goes to section header 0.
    var usesXNUM = false
    /// Overrides the number of program headers that the file claims.
    var claimedProgramHeaders: UInt32?
    /// The last word over the metadata, before its checksum is taken.
    var editMetadata: (inout [UInt8]) -> Void = { _ in }

    mutating func string(_ text: String) -> UInt32 {
        let offset = UInt32(strings.count)
        strings += Array(text.utf8) + [0]
        return offset
    }

    mutating func addRegion(
        _ start: UInt64, pages: Int, kind: scp_region_kind = SCP_REGION_ANONYMOUS, path: String = ""
    ) {
        var region = scp_region()
        (region.start, region.end) = (start, start + UInt64(pages * Self.page))
        region.kind = kind.rawValue
        region.protection = 3
        region.path = path.isEmpty ? 0 : string(path)
        regions.append(region)
    }

    /// Appends whole pages of content for `address`; `hole` pages of nothing are left before it in the file.
    mutating func addBlock(_ address: UInt64, _ content: [UInt8], hole: Int = 0) {
        data += [UInt8](repeating: 0, count: hole * Self.page)
        var block = scp_block()
        block.address = address
        (block.length, block.stored_length) = (UInt64(content.count), UInt64(content.count))
        block.offset = UInt64(Self.page + data.count)
        block.checksum = scp_block_checksum(content, content.count)
        blocks.append(block)
        data += content
    }

    /// Makes chunks of `pages` pages of all content so far, each stored as `pack` has it; the blobs move behind them.
    /// - Parameter pack: encoding and stored bytes for content; nil = as it is.
    mutating func compress(pages: Int, _ pack: ([UInt8]) -> (scp_chunk_encoding, [UInt8])?) {
        let contents = blobs.map { blob in
            Array(data[Int(blob.offset) - Self.page..<Int(blob.offset + blob.length) - Self.page])
        }
        var stored: [UInt8] = []
        for start in stride(from: 0, to: data.count, by: pages * Self.page) {
            let content = Array(data[start..<min(start + pages * Self.page, data.count)])
            let (encoding, bytes) = pack(content) ?? (SCP_CHUNK_RAW, content)
            var chunk = scp_chunk()
            (chunk.place, chunk.length) = (UInt64(Self.page + start), UInt64(content.count))
            (chunk.offset, chunk.stored_length) = (UInt64(Self.page + stored.count), UInt64(bytes.count))
            chunk.encoding = encoding.rawValue
            chunk.checksum = scp_xxh3(bytes, bytes.count, 0)
            chunks.append(chunk)
            stored += bytes
        }
        data = stored + [UInt8](repeating: 0, count: (Self.page - stored.count % Self.page) % Self.page)
        (segments, blobs) = ([], [])
        for content in contents { addBlob(content) }
    }

    mutating func addGuard(_ address: UInt64, pages: Int) {
        var block = scp_block()
        (block.address, block.length) = (address, UInt64(pages * Self.page))
        block.flags = SCP_BLOCK_GUARD.rawValue
        blocks.append(block)
    }

    mutating func addBlob(_ content: [UInt8]) {
        var blob = scp_blob()
        blob.offset = UInt64(Self.page + data.count)
        blob.length = UInt64(content.count)
        var start = 0
        while start < content.count {
            let piece = Array(content[start..<min(content.count, start + Int(SCP_BLOCK_MAXIMUM))])
            blob.checksum = scp_xxh3(piece, piece.count, blob.checksum)
            start += piece.count
        }
        blobs.append(blob)
        data += content + [UInt8](repeating: 0, count: (Self.page - content.count % Self.page) % Self.page)
    }

    mutating func addThread(_ tid: UInt32, _ name: String, flags: UInt32 = 0) {
        var thread = scp_thread()
        (thread.tid, thread.flags, thread.system_call) = (tid, flags, .max)
        withUnsafeMutableBytes(of: &thread.name) { $0.copyBytes(from: name.utf8.prefix(15)) }
        threads.append(thread)
    }

    mutating func addObject(_ kind: scp_object_kind, path: String = "", blob: UInt32 = SCP_NO_BLOB) {
        var object = scp_object()
        (object.kind, object.blob) = (kind.rawValue, blob)
        object.path = path.isEmpty ? 0 : string(path)
        objects.append(object)
    }

    mutating func addDescriptor(_ number: Int32, object: UInt32) {
        descriptors.append(scp_descriptor(number: number, object: object, close_on_exec: 0, reserved: 0))
    }

    // MARK: - Layout

    func bytes() -> [UInt8] {
        let offset = Self.page + (data.count + Self.page - 1) / Self.page * Self.page
        let loads = (segments ?? blocks).filter { $0.flags & SCP_BLOCK_GUARD.rawValue == 0 }
        let tableLength = (loads.count + 1) * 56 + (usesXNUM ? 64 : 0)
        var sealed = header
        let notesLength = notes(sealed).bytes.count
        sealed.metadata_offset = UInt64(offset)
        sealed.metadata_length = UInt64(tableLength + notesLength)
        let (notes, headerPosition) = notes(sealed)

        var metadata = loads.flatMap { programHeader(1, $0.offset, $0.address, $0.stored_length, $0.length) }
        metadata += programHeader(4, UInt64(offset + tableLength), 0, UInt64(notes.count), 0)
        let headers = claimedProgramHeaders ?? UInt32(loads.count + 1)
        if usesXNUM { metadata += sectionHeader(headers) }
        metadata += notes
        editMetadata(&metadata)

        var file = elfHeader(offset, headers, sections: usesXNUM ? offset + tableLength - 64 : 0)
        file += [UInt8](repeating: 0, count: Self.page - file.count)
        seal(&metadata, at: headerPosition.map { tableLength + $0 }, head: file)
        file += data + [UInt8](repeating: 0, count: offset - Self.page - data.count)
        return file + metadata
    }

    /// All of our notes, and where the image header's descriptor starts among them.
    private func notes(_ header: scp_image_header) -> (bytes: [UInt8], header: Int?) {
        let all: [(scp_note_type, [UInt8])] =
            [
                (SCP_NOTE_IMAGE, raw([header])), (SCP_NOTE_STRINGS, strings), (SCP_NOTE_REGIONS, raw(regions)),
                (SCP_NOTE_BLOCKS, raw(blocks)), (SCP_NOTE_BLOBS, raw(blobs)), (SCP_NOTE_THREADS, raw(threads)),
                (SCP_NOTE_PROCESS, raw([process])), (SCP_NOTE_ACTIONS, raw(actions)), (SCP_NOTE_PENDING, raw(pending)),
                (SCP_NOTE_TIMERS, raw(timers)), (SCP_NOTE_DESCRIPTORS, raw(descriptors)),
                (SCP_NOTE_OBJECTS, raw(objects)),
                (SCP_NOTE_WATCHES, raw(watches)), (SCP_NOTE_LOCKS, raw(locks)), (SCP_NOTE_AUXV, raw(auxiliaryVector)),
                (SCP_NOTE_ZOMBIES, raw(zombies)),
            ] + (chunks.isEmpty ? [] : [(SCP_NOTE_CHUNKS, raw(chunks))])
            + (needs.isEmpty ? [] : [(SCP_NOTE_ANCESTORS, raw(needs))])
        var bytes = note("CORE", 6, raw(auxiliaryVector))
        var place: Int?
        for (type, content) in all where !omitted.contains(type.rawValue) {
            if type == SCP_NOTE_IMAGE { place = bytes.count + 20 }
            let padded = content + [UInt8](repeating: 0, count: padding[type.rawValue] ?? 0)
            for _ in 0..<(repeated.contains(type.rawValue) ? 2 : 1) { bytes += note("SWIFTCP", type.rawValue, padded) }
        }
        return (bytes, place)
    }

    private func seal(_ metadata: inout [UInt8], at header: Int?, head: [UInt8]) {
        guard let header, header + 48 <= metadata.count else { return }
        let seed = scp_xxh3(head, head.count, 0)
        metadata.replaceSubrange(header + 40..<header + 48, with: [UInt8](repeating: 0, count: 8))
        let sum = scp_xxh3(metadata, metadata.count, seed)
        metadata.replaceSubrange(header + 40..<header + 48, with: raw([sum]))
    }

    private func elfHeader(_ offset: Int, _ programHeaders: UInt32, sections: Int) -> [UInt8] {
        var bytes: [UInt8] = [
            0x7f, 0x45, 0x4c, 0x46,  // magic
            2, 1, 1, 0,  // 64 bits, little-endian, version, System V
            0, 0, 0, 0, 0, 0, 0, 0,
        ]
        bytes += raw([UInt16(4), 62]) + raw([UInt32(1)])  // ET_CORE, EM_X86_64, version
        bytes += raw([UInt64(0), UInt64(offset), UInt64(sections)]) + raw([UInt32(0)])
        bytes += raw([
            UInt16(64), 56, usesXNUM ? 0xffff : UInt16(truncatingIfNeeded: programHeaders), 64, usesXNUM ? 1 : 0, 0,
        ])
        return bytes
    }

    private func programHeader(
        _ type: UInt32, _ offset: UInt64, _ address: UInt64, _ fileSize: UInt64, _ memorySize: UInt64
    ) -> [UInt8] {
        raw([type, 6]) + raw([offset, address, 0, fileSize, memorySize, type == 4 ? 4 : 4096])
    }

    private func sectionHeader(_ programHeaders: UInt32) -> [UInt8] {
        [UInt8](repeating: 0, count: 44) + raw([programHeaders]) + [UInt8](repeating: 0, count: 16)
    }

    private func note(_ owner: String, _ type: UInt32, _ content: [UInt8]) -> [UInt8] {
        func padded(_ bytes: [UInt8]) -> [UInt8] { bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4) }
        let name = Array(owner.utf8) + [0]
        return raw([UInt32(name.count), UInt32(content.count), type]) + padded(name) + padded(content)
    }
}

/// The bytes of records, one after the other.
func raw<Record: BitwiseCopyable>(_ records: [Record]) -> [UInt8] { records.withUnsafeBytes { Array($0) } }

extension ImageBuilder {
    /// A valid image with at least one record of every kind: 12 pages of data, two user threads.
    static func small() -> ImageBuilder {
        var image = ImageBuilder()
        image.addRegion(0x400000, pages: 2, kind: SCP_REGION_FILE, path: "/usr/bin/counter")
        image.addRegion(0x600000, pages: 8)
        image.addRegion(0x7fff_0000_0000, pages: 4)
        image.addBlock(0x400000, pattern(2, seed: 1))
        image.addBlock(0x601000, pattern(1, seed: 2))
        image.addBlock(0x603000, pattern(2, seed: 3), hole: 1)
        image.addGuard(0x607000, pages: 1)
        image.addBlock(0x7fff_0000_3000, pattern(1, seed: 4))
        image.addBlob(Array(pattern(2, seed: 5).prefix(5000)))
        image.addBlob([])
        image.fillHeaderAndProcess()
        image.addThread(1234, "counter", flags: SCP_THREAD_LEADER.rawValue)
        image.addThread(1236, "worker")
        image.addThread(1235, "swiftcp", flags: SCP_THREAD_CHECKPOINT.rawValue)
        image.addObject(SCP_OBJECT_TERMINAL, path: "/dev/pts/3")
        image.addObject(SCP_OBJECT_FILE, path: "/tmp/out (1)", blob: 0)
        image.addObject(SCP_OBJECT_EPOLL)
        image.addDescriptor(0, object: 0)
        image.addDescriptor(1, object: 0)
        image.addDescriptor(3, object: 1)
        image.addDescriptor(7, object: 2)
        var watch = scp_watch()
        (watch.object, watch.target, watch.target_object) = (2, 3, 1)
        image.watches = [watch]
        image.locks = [scp_lock(kind: 1, type: 1, object: 1, number: 3, start: 0, length: 10)]
        image.pending = [scp_pending()]
        image.timers = [scp_timer()]
        return image
    }

    private mutating func fillHeaderAndProcess() {
        header.magic = SCP_IMAGE_MAGIC
        header.format_version = SCP_FORMAT_VERSION
        header.header_size = UInt32(MemoryLayout<scp_image_header>.size)
        header.machine = 62
        header.page_size = 4096
        header.created_realtime = 1_700_000_000_000_000_000
        header.generation = 3
        header.kernel_release = string("6.1.0-test")
        header.host_name = string("night")
        header.computation = string("abc123")
        header.libc_version = string("2.36")
        (process.pid, process.ppid, process.uid) = (1234, 1, 1000)
        process.command = string("counter")
        process.executable = string("/usr/bin/counter")
        process.directory = string("/home/user")
    }

    /// `pages` pages of bytes that are not zero.
    static func pattern(_ pages: Int, seed: UInt8) -> [UInt8] {
        (0..<pages * page).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ Int(seed) &* 13) | 1 }
    }
}
