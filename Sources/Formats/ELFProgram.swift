/// What the start of an ELF file says about how it is executed. *Source:* elf(5), fs/binfmt_elf.c.
public struct ELFProgram: Equatable, Sendable {
    public enum Malformed: Error, Equatable, Sendable { case truncated, programHeaders }

    public let identity: ELFIdentity
    /// Path in PT_INTERP, nil when there is none: statically linked. Nil too for programs of other machines.
    public let interpreter: String?

    /// Reads at an offset of the file; fewer bytes than asked for at its end.
    public typealias Read = (_ offset: Int64, _ count: Int) throws -> [UInt8]

    /// - Parameter start: the first bytes of the file, at least 64.
    public init(start: [UInt8], read: Read) throws {
        guard start.count >= ELFHeader.size, let identity = ELFIdentity(start) else { throw Malformed.truncated }
        self.identity = identity
        // Of another class or byte order nothing more needs to be known.
        interpreter = identity.is64Bit && identity.isLittleEndian ? try Self.interpreter(start, read) : nil
    }

    /// What the kernel does not look at may be anything here too: sections, the header's own size.
    private static func interpreter(_ start: [UInt8], _ read: Read) throws -> String? {
        let fields = LittleEndian(start)
        let offset = fields.u64(32)
        let length = Int(fields.u16(56)) * ELFProgramHeader.size
        // The kernel refuses entries of another size, and tables above 64 KiB.
        guard fields.u16(54) == UInt16(ELFProgramHeader.size), (1...65536).contains(length), offset < 1 << 48 else {
            throw Malformed.programHeaders
        }
        let table = try read(Int64(offset), length)
        guard table.count == length else { throw Malformed.truncated }
        for position in stride(from: 0, to: length, by: ELFProgramHeader.size) {
            guard let header = ELFProgramHeader(table, at: position),
                header.type == ELFProgramHeader.Kind.interpreter
            else { continue }
            guard header.offset < 1 << 48, (2...4096).contains(header.fileSize) else { throw Malformed.programHeaders }
            let bytes = try read(Int64(header.offset), Int(header.fileSize))
            guard bytes.count == Int(header.fileSize) else { throw Malformed.truncated }
            return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return nil
    }
}
