import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import SystemCalls

/// What the restorer is to map and fill: regions, pieces, shared objects. Pure but for looking at mapped files.
struct MemoryPlan {
    var regions: [scp_plan_region] = []
    var pieces: [scp_plan_piece] = []
    var objects: [scp_plan_object] = []
    /// Descriptors of this process that regions are mapped from; borrowed.
    var descriptors: [Int32] = []
    /// Files that some of these belong to, open as long as the plan.
    private var held: [OpenFile] = []
    var strings = StringTable()
    /// Numbers of the blocks that are mapped from the image and so are verified later.
    var lazyBlocks: [Int] = []

    /// Regions with less content (bytes) than this are read even in a lazy restart: it is quick, and they stay
    /// anonymous.
    static let lazyMinimum: UInt64 = 4 << 20
    /// More stretches than this in one region are read: each would be a mapping of its own.
    static let lazyStretches = 1024

    struct Context {
        let file: Image
        let options: RestartOptions
        let lazy: Bool
        let vdso: VDSOPlan
        /// A descriptor of the file or memfd with this device and inode, -1 = none.
        let find: (UInt64, UInt64) -> Int32
        /// A descriptor of the memory that the region shares with other processes, -1 = none.
        let shared: (scp_region) -> Int32
    }
    private let context: Context
    private var states: [[UInt8]: FileStatus?] = [:]
    private var objectNumbers: [UInt64: UInt32] = [:]
    private var descriptorNumbers: [Int32: UInt32] = [:]
    private var sharers: [UInt64: Int] = [:]

    /// Bytes that the restorer counts while it fills.
    var bytesToPlace: UInt64 {
        pieces.reduce(0) { sum, piece in
            guard piece.kind == SCP_PLAN_READ.rawValue else { return sum }
            return sum + (UInt32(piece.options) & SCP_PLAN_GIVE_BACK.rawValue != 0 ? piece.length / 2 : piece.length)
        }
    }

    init(_ context: Context) throws(RestartError) {
        self.context = context
        let image = context.file
        for region in image.regions where region.kind == SCP_REGION_SHARED_ANONYMOUS.rawValue {
            sharers[region.object, default: 0] += 1
        }
        regions.reserveCapacity(image.regions.count)
        pieces.reserveCapacity(image.blocks.count)
        for (index, region) in image.regions.enumerated() { try add(region, blocks: image.blocksOfRegion[index]) }
    }

    private enum Fill { case everything, changed, nothing }

    private mutating func add(_ region: scp_region, blocks: Range<Int>) throws(RestartError) {
        var plan = scp_plan_region()
        (plan.start, plan.end) = (region.start, region.end)
        (plan.protection, plan.flags) = (region.protection, region.flags)
        plan.file_offset = region.file_offset
        (plan.device, plan.inode) = (region.device, region.inode)
        (plan.file_size, plan.file_mtime) = (region.file_size, region.file_mtime)
        plan.path = strings.add(context.options.mapped(context.file.stringBytes(region.path)))
        let fill = try choose(region, &plan)
        if plan.source == SCP_PLAN_ANONYMOUS.rawValue, wantsHugePages(region, blocks) {
            plan.options |= SCP_PLAN_HUGE.rawValue
        }
        plan.first_piece = UInt64(pieces.count)
        addPieces(plan, blocks, fill)
        if pieces.last?.kind == SCP_PLAN_MAP.rawValue { plan.options &= ~SCP_PLAN_HUGE.rawValue }
        plan.piece_count = UInt64(pieces.count) - plan.first_piece
        regions.append(plan)
    }

    private mutating func choose(_ region: scp_region, _ plan: inout scp_plan_region) throws(RestartError) -> Fill {
        switch region.kind {
        case SCP_REGION_FILE.rawValue: return privateFile(region, &plan)
        case SCP_REGION_SHARED_FILE.rawValue: return try sharedFile(region, &plan)
        case SCP_REGION_SHARED_ANONYMOUS.rawValue: return sharedAnonymous(region, &plan)
        case SCP_REGION_SYSV.rawValue: return segment(region, &plan)
        case SCP_REGION_VDSO.rawValue, SCP_REGION_VVAR.rawValue:
            guard case .trampolines = context.vdso else { return set(SCP_PLAN_NOTHING, .nothing, &plan) }
            return set(SCP_PLAN_ANONYMOUS, .everything, &plan)
        default: return set(SCP_PLAN_ANONYMOUS, .everything, &plan)
        }
    }

    private func set(_ source: scp_plan_source, _ fill: Fill, _ plan: inout scp_plan_region) -> Fill {
        plan.source = source.rawValue
        return fill
    }

    // MARK: - Sources

    private mutating func privateFile(_ region: scp_region, _ plan: inout scp_plan_region) -> Fill {
        if region.flags & SCP_REGION_DELETED.rawValue == 0, let status = status(of: region), status.isRegular,
            status.device == region.device, status.inode == region.inode, UInt64(status.size) == region.file_size,
            status.modified == region.file_mtime
        {
            return set(SCP_PLAN_PRIVATE_FILE, .changed, &plan)
        }
        // The file has changed or gone: all that the program saw of it is in the image.
        return set(SCP_PLAN_ANONYMOUS, .everything, &plan)
    }

    private mutating func sharedFile(
        _ region: scp_region, _ plan: inout scp_plan_region
    ) throws(RestartError) -> Fill {
        let isWritable = region.protection & UInt32(PROT_WRITE) != 0
        let made = context.find(region.device, region.inode)
        if region.flags & SCP_REGION_DELETED.rawValue != 0 {
            guard made >= 0 else {
                return ofSeveral(region, &plan) ?? sharedObject(region, number: region.inode, &plan)
            }
            plan.object = descriptorNumber(made)
            return set(SCP_PLAN_SHARED_DESCRIPTOR, isWritable ? .everything : .nothing, &plan)
        }
        let path = String(decoding: context.options.mapped(context.file.stringBytes(region.path)), as: UTF8.self)
        guard let status = status(of: region) else {
            guard isWritable, covers(region) else {
                throw RestartError(
                    "\(path): the program has mapped this file, and it is missing; put it back, or use --map")
            }
            return hold(try makeAgain(path, size: region.file_size), &plan)
        }
        guard status.isRegular, UInt64(max(status.size, 0)) >= region.file_size else {
            throw RestartError(
                "\(path): the program has mapped this file, which is shorter now (\(status.size) bytes) than at the"
                    + " checkpoint (\(region.file_size)); put it back as it was")
        }
        if isWritable, access(path, W_OK) != 0 {
            throw RestartError(
                "\(path): the program has mapped this file for writing: \(SystemError.reason(errno)); allow it")
        }
        if isWritable, covers(region), let file = try? Files.open(path, O_RDWR) {
            return hold(OpenFile(file), &plan)
        }
        // The program had it open for reading alone; nothing of it is ours to write.
        if !isWritable, region.flags & SCP_REGION_MAY_WRITE.rawValue == 0 { plan.options = SCP_PLAN_READ_ONLY.rawValue }
        return set(SCP_PLAN_SHARED_FILE, isWritable ? .everything : .nothing, &plan)
    }

    /// True when the region shows its whole file, so that the image holds all of it.
    private func covers(_ region: scp_region) -> Bool {
        region.file_offset == 0 && region.end - region.start >= region.file_size
    }

    /// The region is mapped from the open file: its name may go before the restorer could open it. (The JVM's performance
    /// counters are such a file: any other JVM removes it when its owner is dead.)
    private mutating func hold(_ file: OpenFile, _ plan: inout scp_plan_region) -> Fill {
        held.append(file)
        plan.object = descriptorNumber(file.raw)
        return set(SCP_PLAN_SHARED_DESCRIPTOR, .everything, &plan)
    }

    /// A mapped file that has gone is made again, empty; the restorer fills it through the mapping.
    private func makeAgain(_ path: String, size: UInt64) throws(RestartError) -> OpenFile {
        do throws(SystemError) {
            try Files.makeDirectories(Path.parent(path), mode: 0o700)
            let file = try Files.open(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            guard ftruncate(file.raw, off_t(size)) == 0 else {
                throw SystemError(errno, "set the size of", path)
            }
            return OpenFile(file)
        } catch {
            throw RestartError(
                "\(path): the program has mapped this file, which is missing and cannot be made again: \(error)")
        }
    }

    private mutating func sharedAnonymous(_ region: scp_region, _ plan: inout scp_plan_region) -> Fill {
        let made = context.find(region.device, region.inode)
        if made >= 0 {
            plan.object = descriptorNumber(made)
            if isSealed(region) {
                plan.options = SCP_PLAN_READ_ONLY.rawValue
                return set(SCP_PLAN_SHARED_DESCRIPTOR, .nothing, &plan)
            }
            return set(
                SCP_PLAN_SHARED_DESCRIPTOR, region.protection & UInt32(PROT_WRITE) != 0 ? .everything : .nothing, &plan)
        }
        if let fill = ofSeveral(region, &plan) { return fill }
        if sharers[region.object] == 1 { return set(SCP_PLAN_SHARED_ANONYMOUS, .everything, &plan) }
        return sharedObject(region, number: region.object, &plan)
    }

    /// Memory that other processes of the set have, too: whoever has the content fills it.
    private mutating func ofSeveral(_ region: scp_region, _ plan: inout scp_plan_region) -> Fill? {
        let descriptor = context.shared(region)
        guard descriptor >= 0 else { return nil }
        plan.object = descriptorNumber(descriptor)
        return set(SCP_PLAN_SHARED_DESCRIPTOR, .everything, &plan)
    }

    /// Nobody can write to the memfd any more, through no mapping either.
    private func isSealed(_ region: scp_region) -> Bool {
        context.file.objects.contains {
            $0.kind == SCP_OBJECT_MEMFD.rawValue && $0.device == region.device && $0.inode == region.inode
                && $0.value.0 & 0x8 != 0  // F_SEAL_WRITE
        }
    }

    private mutating func sharedObject(
        _ region: scp_region, number: UInt64, _ plan: inout scp_plan_region
    ) -> Fill {
        plan.object = objectNumber(number, region)
        return set(SCP_PLAN_SHARED_OBJECT, .everything, &plan)
    }

    private mutating func segment(_ region: scp_region, _ plan: inout scp_plan_region) -> Fill {
        plan.object = objectNumber(region.object, region)
        let index = Int(plan.object)
        objects[index].sysv = 1
        objects[index].id = Int32(truncatingIfNeeded: region.object)
        objects[index].key = region.segmentKey(context.file.string(region.path))
        return set(SCP_PLAN_SYSV, .everything, &plan)
    }

    private mutating func objectNumber(_ number: UInt64, _ region: scp_region) -> UInt32 {
        let size = region.file_offset + (region.end - region.start)
        if let known = objectNumbers[number] {
            objects[Int(known)].size = max(objects[Int(known)].size, size)
            return known
        }
        let path = context.file.stringBytes(region.path)
        let prefix = Array("/memfd:".utf8)
        let name = path.starts(with: prefix) ? Array(path.dropFirst(prefix.count)) : Array("swiftcp_shared".utf8)
        var object = scp_plan_object()
        object.size = max(size, region.file_size)
        object.name = strings.add(name)
        objects.append(object)
        objectNumbers[number] = UInt32(objects.count - 1)
        return UInt32(objects.count - 1)
    }

    private mutating func descriptorNumber(_ raw: Int32) -> UInt32 {
        let first = UInt32(SCP_PLAN_DESCRIPTOR_OBJECTS.rawValue)
        if let known = descriptorNumbers[raw] { return first + known }
        descriptors.append(raw)
        descriptorNumbers[raw] = UInt32(descriptors.count - 1)
        return first + UInt32(descriptors.count - 1)
    }

    private mutating func status(of region: scp_region) -> FileStatus? {
        let path = context.options.mapped(context.file.stringBytes(region.path))
        if let known = states[path] { return known }
        let status = try? Files.status(String(decoding: path, as: UTF8.self))
        states[path] = .some(status)
        return status
    }

    // MARK: - Content

    private mutating func addPieces(_ plan: scp_plan_region, _ blocks: Range<Int>, _ fill: Fill) {
        guard plan.source != SCP_PLAN_NOTHING.rawValue else { return }
        if context.lazy, plan.source == SCP_PLAN_ANONYMOUS.rawValue, let stretches = lazyStretches(plan, blocks) {
            pieces += stretches
            lazyBlocks += Array(blocks)
            return
        }
        for index in blocks {
            let block = context.file.blocks[index]
            var piece = scp_plan_piece()
            (piece.address, piece.length, piece.offset) = (block.address, block.length, block.offset)
            (piece.checksum, piece.file) = (block.checksum, UInt16(block.file))
            if block.isGuard {
                piece.kind = SCP_PLAN_GUARD.rawValue
            } else {
                let isClean = block.flags & SCP_BLOCK_CLEAN.rawValue != 0
                guard fill == .everything || fill == .changed && !isClean else { continue }
                piece.kind = SCP_PLAN_READ.rawValue
                if context.file.holder(of: block).isCompressed { piece.options = UInt16(SCP_PLAN_GIVE_BACK.rawValue) }
            }
            pieces.append(piece)
        }
    }

    /// Bytes of a huge page, and how many of ten parts of those in a region must have content: what has none grows.
    private static let hugePage: UInt64 = 2 << 20
    private static let hugeTenths: UInt64 = 9

    /// Well-filled memory is restored several times as quickly in huge pages, and used more quickly. The advice stays, for
    /// the whole mapping: part of one would split it, and mremap fails across the seam.
    private func wantsHugePages(_ region: scp_region, _ blocks: Range<Int>) -> Bool {
        let special =
            SCP_REGION_GROWSDOWN.rawValue | SCP_REGION_MAIN_STACK.rawValue | SCP_REGION_LOCKED.rawValue
            | SCP_REGION_LOCK_ON_FAULT.rawValue | SCP_REGION_HUGETLB.rawValue | SCP_REGION_GUARDS.rawValue
            | SCP_REGION_SHIM.rawValue | SCP_REGION_HUGEPAGE.rawValue | SCP_REGION_NOHUGEPAGE.rawValue
            | SCP_REGION_MERGEABLE.rawValue | SCP_REGION_HEAP.rawValue  // brk would make a second mapping beside it
        let first = (region.start + Self.hugePage - 1) / Self.hugePage, end = region.end / Self.hugePage
        guard region.kind == SCP_REGION_ANONYMOUS.rawValue, region.flags & special == 0, end >= first + 2 else {
            return false
        }
        let content = blocks.reduce(UInt64(0)) { $0 + context.file.blocks[$1].stored_length }
        return content / 10 >= (region.end - region.start) / 100 * Self.hugeTenths
    }

    /// The region's content as stretches to map; nil where it is better read.
    private func lazyStretches(_ plan: scp_plan_region, _ blocks: Range<Int>) -> [scp_plan_piece]? {
        let special =
            SCP_REGION_GROWSDOWN.rawValue | SCP_REGION_MAIN_STACK.rawValue | SCP_REGION_LOCKED.rawValue
            | SCP_REGION_LOCK_ON_FAULT.rawValue | SCP_REGION_WIPEONFORK.rawValue | SCP_REGION_HUGETLB.rawValue
            | SCP_REGION_GUARDS.rawValue | SCP_REGION_SHIM.rawValue | SCP_REGION_MERGEABLE.rawValue
        // From a file system mounted noexec nothing executable can be mapped.
        guard plan.flags & special == 0, plan.protection & UInt32(PROT_EXEC) == 0 else { return nil }
        var stretches: [scp_plan_piece] = []
        var content: UInt64 = 0
        for block in context.file.blocks[blocks] {
            // A mapping of file pages would not be known again as memory restored lazily.
            guard !context.file.holder(of: block).isFilePages else { return nil }
            content += block.length
            if let last = stretches.last, last.address + last.length == block.address,
                last.offset + last.length == block.offset, UInt32(last.file) == block.file
            {
                stretches[stretches.count - 1].length += block.length
            } else {
                var piece = scp_plan_piece()
                (piece.address, piece.length, piece.offset) = (block.address, block.length, block.offset)
                (piece.kind, piece.file) = (SCP_PLAN_MAP.rawValue, UInt16(block.file))
                stretches.append(piece)
            }
        }
        guard content >= Self.lazyMinimum, stretches.count <= Self.lazyStretches else { return nil }
        return stretches
    }
}

/// NUL-terminated strings; offset 0 is the empty one.
struct StringTable {
    private(set) var bytes: [UInt8] = [0]
    private var known: [[UInt8]: UInt32] = [[]: 0]

    mutating func add(_ text: [UInt8]) -> UInt32 {
        if let offset = known[text] { return offset }
        let offset = UInt32(bytes.count)
        bytes += text + [0]
        known[text] = offset
        return offset
    }
}
