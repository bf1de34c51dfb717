import CRestart
import CSwiftCP
import ImageFormat
import SystemCalls

/// Memory that processes of the set share: made once, mapped by all of them.
///
/// The content comes in by the restorers: the image that has it fills it through its own mapping. Nobody runs before
/// everybody has arrived.
struct SharedMemory {
    /// What a region shows a part of. Images of one generation come from one host at one time: the inode tells.
    struct Key: Hashable {
        let isSegment: Bool
        let device: UInt64
        let inode: UInt64

        init(_ region: scp_region) {
            isSegment = region.kind == SCP_REGION_SYSV.rawValue
            (device, inode) = (isSegment ? 0 : region.device, isSegment ? region.object : region.inode)
        }
    }

    /// One memory, over all images.
    struct Memory: Equatable {
        /// Bytes.
        var size: UInt64 = 0
        /// For the memfd.
        var name = "swiftcp_shared"
        /// SysV key.
        var key: Int32 = 0
        /// Images that map it.
        var images = Set<Int>()
        /// An image holds what is in it.
        var hasContent = false
    }

    let memories: [Key: Memory]
    private let isSet: Bool
    private var files: [Key: OpenFile] = [:]

    /// Looks at regions alone.
    ///
    /// - Throws: an image says that another one has the content, and none has.
    init(_ images: [Image]) throws(RestartError) {
        isSet = images.count > 1
        var memories: [Key: Memory] = [:]
        for (index, image) in images.enumerated() {
            for region in image.regions where region.isMemoryOfSeveral {
                memories[Key(region), default: Memory()].add(region, of: image, index)
            }
        }
        for image in images {
            for region in image.regions where region.isMemoryOfSeveral {
                guard memories[Key(region)]?.hasContent == true else {
                    throw RestartError.unusable(
                        image.path,
                        "memory at \(String(region.start, radix: 16)) is shared with a process whose image is not there;"
                            + " name the whole generation")
                }
            }
        }
        self.memories = memories
    }

    /// Makes a memfd for whatever several processes map and no descriptor of theirs leads to.
    mutating func make(found: (UInt64, UInt64) -> Int32) throws(RestartError) {
        for (key, memory) in memories where !key.isSegment && memory.images.count > 1 {
            guard found(key.device, key.inode) < 0 else { continue }
            files[key] = OpenFile(
                try system { () throws(SystemError) in
                    OwnedDescriptor(
                        owning: try check(crestart_memory_create(memory.name, memory.size), "make", "shared memory"))
                })
        }
    }

    /// Makes the SysV segments of a set, in the ipc namespace where they are to be. One process makes its own: several
    /// would ask for their numbers at the same time.
    func makeSegments() throws(RestartError) {
        for (key, memory) in memories where key.isSegment && isSet {
            let result = crestart_segment_ensure(Int32(truncatingIfNeeded: key.inode), memory.key, memory.size)
            guard result < 0 else { continue }
            throw RestartError(
                SystemError(-result, "make", "the SysV shared memory segment \(key.inode) of the program"))
        }
    }

    /// The descriptor to map `region` from; -1 = the process makes it for itself.
    func descriptor(for region: scp_region) -> Int32 { files[Key(region)]?.raw ?? -1 }
}

extension SharedMemory.Memory {
    fileprivate mutating func add(_ region: scp_region, of image: Image, _ index: Int) {
        size = max(size, region.file_offset + (region.end - region.start), region.file_size)
        images.insert(index)
        if region.flags & SCP_REGION_ELSEWHERE.rawValue == 0 { hasContent = true }
        let path = image.string(region.path)
        if region.kind == SCP_REGION_SYSV.rawValue { key = region.segmentKey(path) }
        if path.hasPrefix("/memfd:") { name = String(path.dropFirst("/memfd:".count)) }
    }
}

extension scp_region {
    /// Shared memory that has no file.
    fileprivate var isMemoryOfSeveral: Bool {
        kind == SCP_REGION_SHARED_ANONYMOUS.rawValue || kind == SCP_REGION_SYSV.rawValue
            || kind == SCP_REGION_SHARED_FILE.rawValue && flags & SCP_REGION_DELETED.rawValue != 0
    }

    /// The kernel names a segment "/SYSV" and the key in eight digits.
    func segmentKey(_ path: String) -> Int32 {
        let digits = path.drop { $0 == "/" }.dropFirst(4).prefix(8)
        return Int32(bitPattern: UInt32(digits, radix: 16) ?? 0)
    }
}
