/// What the first bytes of any ELF file say, of whatever class, byte order and machine it is.
///
/// Pure, as all of this module: no system call, no Foundation. *Source:* elf(5); System V ABI, chapter 4.
public struct ELFIdentity: Equatable, Sendable {
    /// The first four bytes.
    public static let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]

    public let is64Bit: Bool
    public let isLittleEndian: Bool
    /// `e_type`, see ``ELFHeader/FileType``.
    public let type: UInt16
    /// `e_machine`.
    public let machine: UInt16

    /// Nil when fewer than 20 bytes are there, or they are not those of an ELF file.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count >= 20, bytes.starts(with: Self.magic) else { return nil }
        is64Bit = bytes[4] == 2
        isLittleEndian = bytes[5] == 1
        let fields = LittleEndian(bytes)
        type = isLittleEndian ? fields.u16(16) : fields.u16(16).byteSwapped
        machine = isLittleEndian ? fields.u16(18) : fields.u16(18).byteSwapped
    }

    /// True for what this machine can execute.
    public var isOwn: Bool { is64Bit && isLittleEndian && machine == ELFHeader.Machine.own }

    /// A name for messages.
    public var machineName: String {
        machine == ELFHeader.Machine.x86_64 && !is64Bit ? "x32" : ELFHeader.Machine.name(machine)
    }
}

/// The header of a 64-bit little-endian ELF file, checked.
public struct ELFHeader: Equatable, Sendable {
    /// Bytes of a 64-bit ELF header.
    public static let size = 64

    /// `e_type`.
    public enum FileType {
        public static let executable: UInt16 = 2
        public static let shared: UInt16 = 3
        public static let core: UInt16 = 4
    }
    /// `e_machine`.
    public enum Machine {
        public static let x86_64: UInt16 = 62
        public static let aarch64: UInt16 = 183

        /// The machine this code runs on.
        public static var own: UInt16 {
            #if arch(x86_64)
                x86_64
            #elseif arch(arm64)
                aarch64
            #else
                #error("add the e_machine of this architecture")
            #endif
        }

        /// A name for messages.
        public static func name(_ machine: UInt16) -> String {
            switch machine {
            case 3: "i386"
            case 8: "MIPS"
            case 20, 21: "PowerPC"
            case 22: "S/390"
            case 40: "arm"
            case x86_64: "x86_64"
            case aarch64: "aarch64"
            case 243: "RISC-V"
            case 258: "LoongArch"
            default: "ELF machine \(machine)"
            }
        }
    }

    public enum Problem: Error, Equatable, Sendable {
        /// Shorter than a header.
        case tooShort
        /// The four bytes 7f 45 4c 46 are not there.
        case notELF
        /// 32 bits.
        case not64Bit
        case notLittleEndian
        /// A field holds what no valid file has; the field's name.
        case badField(String)
    }

    public let type: UInt16
    public let machine: UInt16
    /// Address of the first instruction.
    public let entry: UInt64
    /// Offsets in bytes from the start of the file.
    public let programHeaderOffset: UInt64
    public let sectionHeaderOffset: UInt64
    /// As they stand in the header; 0xffff (`PN_XNUM`) sends to section header 0 for the true number.
    public let programHeaderCount: UInt16
    public let sectionHeaderCount: UInt16

    /// Parses the first 64 bytes of `bytes`; the entry sizes of both tables are checked where the tables exist, no
    /// offset is compared with the length of the file.
    public init(_ bytes: [UInt8]) throws(Problem) {
        let magic = ELFIdentity.magic.prefix(bytes.count)
        guard bytes.prefix(4).elementsEqual(magic), !bytes.isEmpty else { throw .notELF }
        guard bytes.count >= Self.size else { throw .tooShort }
        guard bytes[4] == 2 else { throw .not64Bit }
        guard bytes[5] == 1 else { throw .notLittleEndian }
        let fields = LittleEndian(bytes)
        guard bytes[6] == 1, fields.u32(20) == 1 else { throw .badField("version") }
        guard fields.u16(52) == 64 else { throw .badField("header size") }
        type = fields.u16(16)
        machine = fields.u16(18)
        entry = fields.u64(24)
        programHeaderOffset = fields.u64(32)
        sectionHeaderOffset = fields.u64(40)
        programHeaderCount = fields.u16(56)
        sectionHeaderCount = fields.u16(60)
        guard programHeaderCount == 0 || fields.u16(54) == UInt16(ELFProgramHeader.size) else {
            throw .badField("program header size")
        }
        guard sectionHeaderOffset == 0 || fields.u16(58) == 64 else { throw .badField("section header size") }
    }
}

/// One entry of the program header table.
public struct ELFProgramHeader: Equatable, Sendable {
    public static let size = 56

    public enum Kind {
        public static let load: UInt32 = 1
        public static let dynamic: UInt32 = 2
        public static let interpreter: UInt32 = 3
        public static let note: UInt32 = 4
    }

    public let type: UInt32
    public let flags: UInt32
    /// Bytes from the start of the file.
    public let offset: UInt64
    public let address: UInt64
    /// Bytes in the file, bytes in memory.
    public let fileSize: UInt64
    public let memorySize: UInt64
    public let alignment: UInt64

    /// Parses the entry that starts at byte `position` of `bytes`; nil when it does not fit.
    public init?(_ bytes: [UInt8], at position: Int) {
        guard position >= 0, bytes.count >= Self.size, position <= bytes.count - Self.size else { return nil }
        let fields = LittleEndian(bytes)
        type = fields.u32(position)
        flags = fields.u32(position + 4)
        offset = fields.u64(position + 8)
        address = fields.u64(position + 16)
        fileSize = fields.u64(position + 32)
        memorySize = fields.u64(position + 40)
        alignment = fields.u64(position + 48)
    }
}

/// Little-endian numbers in a byte array. The caller has checked the bounds; a violation traps, it never reads on.
public struct LittleEndian {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public func u16(_ offset: Int) -> UInt16 { load(offset) }
    public func u32(_ offset: Int) -> UInt32 { load(offset) }
    public func u64(_ offset: Int) -> UInt64 { load(offset) }

    private func load<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int) -> Number {
        bytes.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self)) }
    }
}
