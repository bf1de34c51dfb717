import CSwiftCP

/// What `swiftcp_image maps` tells of one region: the fields of /proc/PID/maps, and how much of it is in the image.
public struct MapsLine: Encodable, Equatable, Sendable {
    /// Addresses as hexadecimal digits without a prefix, as /proc has them; end exclusive.
    public let start: String
    public let end: String
    /// "rwxp" or "rwxs".
    public let permissions: String
    /// Bytes.
    public let offset: UInt64
    /// "MAJOR:MINOR", hexadecimal.
    public let device: String
    public let inode: UInt64
    /// Or a name in brackets, as /proc has it; "" = none.
    public let path: String
    /// "anonymous", "file", "shared file" …
    public let kind: String
    /// Bytes of address space, bytes in the image.
    public let bytes: UInt64
    public let stored: UInt64
    /// Bytes of it in earlier images.
    public let inherited: UInt64

    init(_ index: Int, of image: Image) {
        let region = image.regions[index]
        start = padded(String(region.start, radix: 16), 8, "0")
        end = padded(String(region.end, radix: 16), 8, "0")
        permissions = Self.permissions(region)
        offset = region.file_offset
        device = Self.device(region.device)
        inode = region.inode
        path = Self.path(region, image)
        kind = Self.name(ofKind: region.kind)
        bytes = region.end - region.start
        stored = image.storedBytes(ofRegion: index)
        inherited = image.inheritedBytes(ofRegion: index)
    }

    /// One line for people: the fields of /proc/PID/maps with the bytes stored before the path, and behind a plus sign
    /// those in earlier images.
    public var text: String {
        let fields = "\(start)-\(end) \(permissions) \(padded(String(offset, radix: 16), 8, "0")) \(device) \(inode)"
        let size = padded(inherited == 0 ? String(stored) : "\(stored)+\(inherited)", 12, " ")
        return path.isEmpty ? "\(filled(fields, 56)) \(size)" : "\(filled(fields, 56)) \(size)  \(printable(path))"
    }

    private static func permissions(_ region: scp_region) -> String {
        func letter(_ bit: UInt32, _ name: String) -> String { region.protection & bit != 0 ? name : "-" }
        return letter(1, "r") + letter(2, "w") + letter(4, "x") + (isShared(region) ? "s" : "p")
    }

    private static func isShared(_ region: scp_region) -> Bool {
        [SCP_REGION_SHARED_FILE, SCP_REGION_SHARED_ANONYMOUS, SCP_REGION_SYSV].contains { $0.rawValue == region.kind }
    }

    /// *Source:* gnu_dev_major, gnu_dev_minor (sysmacros.h): the two halves of each number are interleaved.
    private static func device(_ device: UInt64) -> String {
        let major = (device >> 8 & 0xfff) | (device >> 32 & ~0xfff)
        let minor = (device & 0xff) | (device >> 12 & ~0xff & 0xffff_ffff)
        return padded(String(major, radix: 16), 2, "0") + ":" + padded(String(minor, radix: 16), 2, "0")
    }

    private static func path(_ region: scp_region, _ image: Image) -> String {
        let path = image.string(region.path)
        guard path.isEmpty else { return region.flags & SCP_REGION_DELETED.rawValue != 0 ? path + " (deleted)" : path }
        if region.flags & SCP_REGION_MAIN_STACK.rawValue != 0 { return "[stack]" }
        if region.flags & SCP_REGION_HEAP.rawValue != 0 { return "[heap]" }
        switch scp_region_kind(rawValue: region.kind) {
        case SCP_REGION_VDSO: return "[vdso]"
        case SCP_REGION_VVAR: return "[vvar]"
        default: return ""
        }
    }

    private static func name(ofKind kind: UInt32) -> String {
        switch scp_region_kind(rawValue: kind) {
        case SCP_REGION_ANONYMOUS: "anonymous"
        case SCP_REGION_FILE: "file"
        case SCP_REGION_SHARED_FILE: "shared file"
        case SCP_REGION_SHARED_ANONYMOUS: "shared anonymous"
        case SCP_REGION_VDSO: "vdso"
        case SCP_REGION_VVAR: "vvar"
        case SCP_REGION_SYSV: "System V"
        case SCP_REGION_DEVICE_ZERO: "/dev/zero"
        default: "kind \(kind)"
        }
    }
}

extension Image {
    /// All regions, ascending by address.
    public func maps() -> [MapsLine] { regions.indices.map { MapsLine($0, of: self) } }
}

/// `text` with `fill` in front up to `width` characters.
func padded(_ text: String, _ width: Int, _ fill: String) -> String {
    String(repeating: fill, count: max(0, width - text.count)) + text
}

/// `text` with blanks behind up to `width` characters.
func filled(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}
