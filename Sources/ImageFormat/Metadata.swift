import CSwiftCP
import Formats

// A checkpoint image, as swiftcp_format.h describes it: an ELF core file whose metadata stands at its end.
//
//        0  +----------------------------------------------+
//           | ELF header (ET_CORE): e_phoff, e_phnum       |  64 bytes, rest of the page zero
//     4096  +----------------------------------------------+
//           | block | block | (hole) | blob | block ...    |  each starts on a page; what no block and
//           |                                              |  no blob covers is zero
//  e_phoff  +----------------------------------------------+ -------------------------------------------+
//           | program headers: PT_LOAD ..., one PT_NOTE    |                                            |
//           | (section header 0, only with PN_XNUM)        |  "metadata": one checksum over all of it,  |
//           | notes: CORE    prstatus, auxv, file ...      |  seeded by that of the first page,         |
//           |        SWIFTCP image header   (first of ours)|  with the header's own field taken as zero |
//           |        SWIFTCP strings, regions, blocks ...  |                                            |
//      end  +----------------------------------------------+ -------------------------------------------+
//
// Every number below comes from an untrusted file: it is compared with what is there before it is used.

/// The metadata of an image: read whole, checksum checked, cut into notes. No record is looked into yet.
struct Metadata {
    /// Bytes; a longer one is refused before memory is taken for it.
    static let maximumLength: UInt64 = 2 << 30
    static let headSize = Int(SCP_DATA_OFFSET)

    let header: scp_image_header
    let offset: UInt64
    let programHeaders: [ELFProgramHeader]
    let bytes: [UInt8]
    /// Where the descriptor of each of our notes stands in `bytes`, by note type.
    private let notes: [UInt32: Range<Int>]
    private let path: String

    init(_ file: ImageFile) throws(ImageError) {
        let head = try file.bytes(at: 0, count: Int(min(file.size, UInt64(Self.headSize))))
        let elf = try Self.coreHeader(head, path: file.path)
        guard head.count == Self.headSize, elf.programHeaderOffset >= UInt64(SCP_DATA_OFFSET),
            elf.programHeaderOffset % 8 == 0, elf.programHeaderOffset < file.size
        else {
            throw ImageError(
                .damaged, file.path, "its metadata lies beyond the end of the file, which was cut short or not finished"
            )
        }
        let length = file.size - elf.programHeaderOffset
        guard length <= Self.maximumLength else {
            throw ImageError(.damaged, file.path, "its metadata is longer than \(Self.maximumLength) bytes")
        }
        path = file.path
        offset = elf.programHeaderOffset
        var bytes = try file.bytes(at: offset, count: Int(length))
        let layout = MetadataLayout(bytes: bytes, offset: offset, path: path)
        programHeaders = try layout.programHeaders(elf)
        notes = try layout.ownNotes(programHeaders)
        header = layout.header(at: try layout.checkHeader(notes[SCP_NOTE_IMAGE.rawValue], elf: elf))
        let sum = Self.checksum(of: &bytes, header: notes[SCP_NOTE_IMAGE.rawValue], head: head)
        guard sum == header.metadata_checksum else {
            throw ImageError(.damaged, path, "the checksum of its metadata is wrong")
        }
        self.bytes = bytes
    }

    /// The checksum that the image header should hold. Its own field counts as zero: it is changed in place and put
    /// back, since metadata may be large.
    private static func checksum(of bytes: inout [UInt8], header: Range<Int>?, head: [UInt8]) -> UInt64? {
        guard let header, let field = MemoryLayout<scp_image_header>.offset(of: \.metadata_checksum) else { return nil }
        let place = header.lowerBound + field..<header.lowerBound + field + 8
        let stored = Array(bytes[place])
        bytes.replaceSubrange(place, with: repeatElement(0, count: 8))
        let sum = xxh3(bytes, seed: xxh3(head, seed: 0))
        bytes.replaceSubrange(place, with: stored)
        return sum
    }

    /// The ELF header of a core file, or why it is none.
    private static func coreHeader(_ head: [UInt8], path: String) throws(ImageError) -> ELFHeader {
        let elf: ELFHeader
        do {
            elf = try ELFHeader(head)
        } catch {
            if error == .tooShort { throw ImageError(.damaged, path, "the file is cut short within its first page") }
            throw ImageError(.notAnImage, path, "not a checkpoint image")
        }
        guard elf.type == ELFHeader.FileType.core else {
            throw ImageError(.notAnImage, path, "not a checkpoint image (an ELF file, but no core file)")
        }
        return elf
    }

    /// The records of a note; empty when the image has no such note.
    func records<Record: BitwiseCopyable>(
        _ note: scp_note_type, as type: Record.Type
    ) throws(ImageError) -> [Record] {
        guard let range = notes[note.rawValue] else { return [] }
        let stride = MemoryLayout<Record>.stride
        guard range.count % stride == 0 else {
            throw ImageError(.damaged, path, "note \(note.rawValue) holds \(range.count) bytes, no whole records")
        }
        let count = range.count / stride
        return [Record](unsafeUninitializedCapacity: count) { buffer, filled in
            bytes.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(from: UnsafeRawBufferPointer(rebasing: source[range]))
            }
            filled = count
        }
    }
}

/// The steps that cut metadata into its parts.
struct MetadataLayout {
    let bytes: [UInt8]
    /// Of the first of `bytes` in the file.
    let offset: UInt64
    let path: String

    private func damaged(_ what: String) -> ImageError { ImageError(.damaged, path, what) }

    func programHeaders(_ elf: ELFHeader) throws(ImageError) -> [ELFProgramHeader] {
        let count = try programHeaderCount(elf)
        guard count <= bytes.count / ELFProgramHeader.size else {
            throw damaged("\(count) program headers do not fit into its metadata")
        }
        var headers: [ELFProgramHeader] = []
        headers.reserveCapacity(count)
        for index in 0..<count {
            guard let header = ELFProgramHeader(bytes, at: index * ELFProgramHeader.size) else { continue }
            if header.type == ELFProgramHeader.Kind.load, !isSound(header) {
                throw damaged("program header \(index) points outside the file")
            }
            headers.append(header)
        }
        return headers
    }

    /// A loaded segment has its bytes between the first page and the metadata.
    private func isSound(_ header: ELFProgramHeader) -> Bool {
        let inFile =
            header.fileSize == 0
            || (header.offset >= UInt64(SCP_DATA_OFFSET) && header.offset <= offset
                && header.fileSize <= offset - header.offset)
        return inFile && header.fileSize <= header.memorySize
            && !header.address.addingReportingOverflow(header.memorySize).overflow
    }

    private func programHeaderCount(_ elf: ELFHeader) throws(ImageError) -> Int {
        guard elf.programHeaderCount == 0xffff else { return Int(elf.programHeaderCount) }
        // PN_XNUM: sh_info (byte 44) of section header 0 has the number.
        let position = elf.sectionHeaderOffset
        guard position >= offset, bytes.count >= 64, position - offset <= UInt64(bytes.count - 64) else {
            throw damaged("the section header that counts its program headers is not in its metadata")
        }
        return Int(LittleEndian(bytes).u32(Int(position - offset) + 44))
    }

    /// Walks the note segment and finds ours.
    func ownNotes(_ headers: [ELFProgramHeader]) throws(ImageError) -> [UInt32: Range<Int>] {
        let segments = headers.filter { $0.type == ELFProgramHeader.Kind.note }
        guard segments.count == 1, let segment = segments.first, segment.offset >= offset,
            segment.offset - offset <= UInt64(bytes.count),
            segment.fileSize <= UInt64(bytes.count) - (segment.offset - offset)
        else { throw damaged("its notes are not where its metadata is") }
        let start = Int(segment.offset - offset)
        var walk = NoteWalk(bytes: bytes, position: start, end: start + Int(segment.fileSize))
        var found: [UInt32: Range<Int>] = [:]
        while true {
            switch walk.next() {
            case .end: return found
            case .broken(let position): throw damaged("the note at byte \(offset + UInt64(position)) is cut short")
            case .note(let note):
                guard note.isOurs else { continue }
                guard !found.isEmpty || note.type == SCP_NOTE_IMAGE.rawValue else {
                    throw damaged("the image header is not the first of its notes")
                }
                guard found.updateValue(note.descriptor, forKey: note.type) == nil else {
                    throw damaged("note \(note.type) stands there twice")
                }
            }
        }
    }

    /// Checks the image header, version and geometry, and returns where it stands. Other versions are told before anything
    /// else is compared.
    func checkHeader(_ range: Range<Int>?, elf: ELFHeader) throws(ImageError) -> Int {
        guard let range else {
            throw ImageError(.notAnImage, path, "not a checkpoint image (a core file that SwiftCP did not write)")
        }
        let fields = LittleEndian(bytes)
        guard range.count >= 16, fields.u64(range.lowerBound) == SCP_IMAGE_MAGIC else {
            throw damaged("its image header is not readable")
        }
        let version = fields.u32(range.lowerBound + 8)
        guard version == SCP_FORMAT_VERSION else {
            throw ImageError(
                .otherVersion, path,
                "an image of format version \(version), this SwiftCP reads version \(SCP_FORMAT_VERSION)")
        }
        guard range.count == MemoryLayout<scp_image_header>.size else {
            throw damaged("its image header has \(range.count) bytes")
        }
        let header = header(at: range.lowerBound)
        guard header.header_size == UInt32(range.count), header.metadata_offset == offset,
            header.metadata_length == UInt64(bytes.count), header.machine == UInt32(elf.machine)
        else { throw damaged("its image header contradicts the file, which was cut short or changed") }
        guard header.page_size == UInt32(SCP_DATA_OFFSET) else {
            throw damaged("it has pages of \(header.page_size) bytes")
        }
        return range.lowerBound
    }

    /// The image header whose place has been checked. Does not throw, on purpose: where a throwing function ends by
    /// copying a struct of this size to its caller, Swift 6.3.1 -O jumps to memcpy without clearing the register that
    /// tells success from failure.
    func header(at position: Int) -> scp_image_header {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: position, as: scp_image_header.self) }
    }
}

func xxh3(_ bytes: [UInt8], seed: UInt64) -> UInt64 {
    bytes.withUnsafeBytes { xxh3($0, seed: seed) }
}

func xxh3(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    guard let base = bytes.baseAddress else { return 0 }
    return scp_xxh3(base, bytes.count, seed)
}

/// Steps from note to note: name and descriptor each begin on a multiple of four bytes.
struct NoteWalk {
    struct Note {
        let type: UInt32
        let isOurs: Bool
        /// Where its descriptor stands in the bytes walked.
        let descriptor: Range<Int>
        /// Where all of it stands, name and padding included.
        let whole: Range<Int>
    }
    enum Step {
        case note(Note)
        case end
        case broken(Int)
    }

    private static let owner = Array(SCP_NOTE_OWNER.utf8) + [0]
    private let bytes: [UInt8]
    private var position: Int
    private let end: Int

    /// `end` must not be beyond the bytes.
    init(bytes: [UInt8], position: Int, end: Int) {
        self.bytes = bytes
        self.position = position
        self.end = end
    }

    mutating func next() -> Step {
        guard position < end else { return .end }
        guard end - position >= 12 else { return .broken(position) }
        let fields = LittleEndian(bytes)
        let nameLength = Int(fields.u32(position))
        let descriptorLength = Int(fields.u32(position + 4))
        let type = fields.u32(position + 8)
        let name = position + 12
        // All terms are below 2^33: no overflow.
        let descriptor = name + (nameLength + 3) / 4 * 4
        let following = descriptor + (descriptorLength + 3) / 4 * 4
        guard following <= end else { return .broken(position) }
        let isOurs = nameLength == Self.owner.count && bytes[name..<name + nameLength].elementsEqual(Self.owner)
        let whole = position..<following
        position = following
        return .note(
            Note(type: type, isOurs: isOurs, descriptor: descriptor..<descriptor + descriptorLength, whole: whole))
    }
}
