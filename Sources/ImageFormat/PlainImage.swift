import CSwiftCP
import Formats

/// Writes an image anew as a full one that is not compressed: blocks one behind the other in the order of their addresses,
/// then blobs, then the metadata with what follows from it. What comes out is an image, and a core file that gdb opens.
///
///        0  | ELF header |
///     4096  | block | block | ...  ascending by address | blob | ...
///           | PT_NOTE, PT_LOAD ... | notes | (section header 0, with PN_XNUM) |
struct PlainImage {
    private let image: Image
    private let file: OutputFile
    private let reader: ContentReader
    private let scratch = Scratch()
    /// The tables of the new image.
    private let blocks: [scp_block]
    private let blobs: [scp_blob]
    private let metadataOffset: UInt64

    init(_ image: Image, _ file: OutputFile) {
        self.image = image
        self.file = file
        reader = ContentReader(image)
        var end = UInt64(SCP_DATA_OFFSET)
        blocks = image.blocks.map { block in
            var placed = block
            placed.file = 0
            if !block.isGuard {
                placed.offset = end
                end += block.stored_length
            }
            return placed
        }
        blobs = image.blobs.map { blob in
            var placed = blob
            placed.offset = end
            end += blob.length.roundedToPages
            return placed
        }
        metadataOffset = end
    }

    /// Every checksum is compared on the way.
    func write() throws(ImageError) {
        for index in blocks.indices where !blocks[index].isGuard { try copyBlock(index) }
        for index in blobs.indices { try copyBlob(index) }
        try writeMetadata()
    }

    private func copyBlock(_ index: Int) throws(ImageError) {
        let bytes = scratch.first(Int(blocks[index].stored_length))
        try reader.read(image.blocks[index], into: bytes)
        guard scp_block_checksum(bytes.baseAddress, bytes.count) == blocks[index].checksum else {
            throw image.damaged("\(image.name(.block(index))): its checksum is wrong")
        }
        try file.write(UnsafeRawBufferPointer(bytes), at: blocks[index].offset)
    }

    private func copyBlob(_ index: Int) throws(ImageError) {
        let (from, to) = (image.blobs[index], blobs[index])
        guard try image.checksum(.blob(index), scratch) == from.checksum else {
            throw image.damaged("\(image.name(.blob(index))): its checksum is wrong")
        }
        var done: UInt64 = 0
        while done < from.length {
            let bytes = scratch.first(Int(min(from.length - done, UInt64(Scratch.size))))
            try image.file.read(into: bytes, at: from.offset + done)
            try file.write(UnsafeRawBufferPointer(bytes), at: to.offset + done)
            done += UInt64(bytes.count)
        }
    }

    // MARK: - Metadata

    private func writeMetadata() throws(ImageError) {
        let old = try Metadata(image.file)
        let loads = CoreSegments(regions: image.regions, blocks: blocks, blocksOfRegion: image.blocksOfRegion).loads
        let (notes, header) = notes(old)
        var bytes = [UInt8](repeating: 0, count: (loads.count + 1) * ELFProgramHeader.size)
        let notesAt = bytes.count
        bytes += notes
        let count = loads.count + 1
        if count >= 0xffff {
            bytes += [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8 + 64)
            bytes.put(UInt32(count), at: bytes.count - 64 + 44)  // sh_info
        }
        let note = CoreSegments.Segment.notes(offset: metadataOffset + UInt64(notesAt), length: UInt64(notes.count))
        for (index, segment) in ([note] + loads).enumerated() { segment.put(into: &bytes, index) }
        var page = try image.file.bytes(at: 0, count: Int(SCP_DATA_OFFSET))
        fill(&page, headers: count, length: bytes.count)
        finish(&bytes, header: notesAt + header, page)
        try file.write(bytes, at: metadataOffset)
        try file.write(page, at: 0)
    }

    /// All notes, those of ours that change replaced; and where among them the image header stands.
    private func notes(_ old: Metadata) -> (bytes: [UInt8], header: Int) {
        var result: [UInt8] = []
        var header = 0
        for note in old.allNotes {
            var whole = Array(old.bytes[note.whole])
            switch note.isOurs ? note.type : 0 {
            case SCP_NOTE_CHUNKS.rawValue, SCP_NOTE_ANCESTORS.rawValue: continue
            case SCP_NOTE_BLOCKS.rawValue: blocks.withUnsafeBytes { whole.replace(note, with: $0) }
            case SCP_NOTE_BLOBS.rawValue: blobs.withUnsafeBytes { whole.replace(note, with: $0) }
            case SCP_NOTE_IMAGE.rawValue:
                header = result.count + note.descriptor.lowerBound - note.whole.lowerBound
            default: break
            }
            result += whole
        }
        return (result, header)
    }

    /// The ELF header's fields that depend on the layout. *Source:* elf(5).
    private func fill(_ page: inout [UInt8], headers: Int, length: Int) {
        let many = headers >= 0xffff
        page.put(metadataOffset, at: 32)  // e_phoff
        page.put(many ? metadataOffset + UInt64(length) - 64 : 0, at: 40)  // e_shoff
        page.put(UInt16(many ? 0xffff : headers), at: 56)  // e_phnum
        page.put(UInt16(many ? 64 : 0), at: 58)  // e_shentsize
        page.put(UInt16(many ? 1 : 0), at: 60)  // e_shnum
    }

    /// The image header's fields that depend on the layout; the checksum last.
    private func finish(_ bytes: inout [UInt8], header: Int, _ page: [UInt8]) {
        let base = MemoryLayout<scp_image_header>.self
        guard let offset = base.offset(of: \.metadata_offset), let length = base.offset(of: \.metadata_length),
            let checksum = base.offset(of: \.metadata_checksum)
        else { return }
        bytes.put(metadataOffset, at: header + offset)
        bytes.put(UInt64(bytes.count), at: header + length)
        bytes.put(UInt64(0), at: header + checksum)
        bytes.put(xxh3(bytes, seed: xxh3(page, seed: 0)), at: header + checksum)
    }
}

/// The program headers of a core file: what image_layout.c makes, from the tables of an image.
struct CoreSegments {
    struct Segment {
        let type: UInt32
        let flags: UInt32
        let offset, address, fileSize, memorySize: UInt64

        static func notes(offset: UInt64, length: UInt64) -> Segment {
            Segment(
                type: ELFProgramHeader.Kind.note, flags: 0, offset: offset, address: 0, fileSize: length, memorySize: 0)
        }

        func put(into bytes: inout [UInt8], _ index: Int) {
            let at = index * ELFProgramHeader.size
            bytes.put(type, at: at)
            bytes.put(flags, at: at + 4)
            bytes.put(offset, at: at + 8)
            bytes.put(address, at: at + 16)
            bytes.put(fileSize, at: at + 32)
            bytes.put(memorySize, at: at + 40)
            bytes.put(UInt64(type == ELFProgramHeader.Kind.note ? 4 : SCP_DATA_OFFSET), at: at + 48)
        }
    }

    private(set) var loads: [Segment] = []

    init(regions: [scp_region], blocks: [scp_block], blocksOfRegion: [Range<Int>]) {
        for (region, range) in zip(regions, blocksOfRegion) {
            add(region, blocks[range].filter { $0.stored_length > 0 })
        }
    }

    /// One for what comes before the first block, one for each run of neighbours with the gap behind it.
    private mutating func add(_ region: scp_region, _ blocks: [scp_block]) {
        let first = blocks.first?.address ?? region.end
        if first > region.start { add(region, region.start, UInt64(SCP_DATA_OFFSET), 0, until: first) }
        var index = 0
        while index < blocks.count {
            let start = blocks[index]
            var end = start.address + start.length
            index += 1
            while index < blocks.count, blocks[index].address == end,
                blocks[index].offset == start.offset + (end - start.address)
            {
                end += blocks[index].length
                index += 1
            }
            let next = index < blocks.count ? blocks[index].address : region.end
            add(region, start.address, start.offset, end - start.address, until: next)
        }
    }

    private mutating func add(
        _ region: scp_region, _ address: UInt64, _ offset: UInt64, _ stored: UInt64, until end: UInt64
    ) {
        // PROT_READ, PROT_WRITE, PROT_EXEC are 1, 2, 4; PF_R, PF_W, PF_X are 4, 2, 1.
        let flags = (region.protection & 1) << 2 | region.protection & 2 | (region.protection & 4) >> 2
        loads.append(
            Segment(
                type: ELFProgramHeader.Kind.load, flags: flags, offset: offset, address: address, fileSize: stored,
                memorySize: end - address))
    }
}

extension Array<UInt8> {
    /// Little-endian; the caller knows that it fits.
    fileprivate mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        Swift.withUnsafeBytes(of: number.littleEndian) { bytes in
            replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
    }

    /// The note's descriptor becomes `records`, which are as many bytes as it had.
    fileprivate mutating func replace(_ note: NoteWalk.Note, with records: UnsafeRawBufferPointer) {
        let start = note.descriptor.lowerBound - note.whole.lowerBound
        replaceSubrange(start..<start + records.count, with: records)
    }
}

extension Metadata {
    /// The notes in their order, the debuggers' too; their ranges lead into `bytes`.
    var allNotes: [NoteWalk.Note] {
        guard let segment = programHeaders.first(where: { $0.type == ELFProgramHeader.Kind.note }) else { return [] }
        let start = Int(segment.offset - offset)
        var walk = NoteWalk(bytes: bytes, position: start, end: start + Int(segment.fileSize))
        var notes: [NoteWalk.Note] = []
        while case .note(let note) = walk.next() { notes.append(note) }
        return notes
    }
}
