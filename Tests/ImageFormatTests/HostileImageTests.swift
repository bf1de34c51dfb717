import CSwiftCP
import Formats
import Glibc
import Testing

@testable import ImageFormat

/// One thing wrong with an image whose checksums are right: what an attacker, or a bug of the writer, would make.
struct Hostility: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let edit: @Sendable (inout ImageBuilder) -> Void

    init(_ name: String, _ edit: @escaping @Sendable (inout ImageBuilder) -> Void) {
        (testDescription, self.edit) = (name, edit)
    }

    static let memory: [Hostility] = [
        Hostility("no regions") { $0.regions = [] },
        Hostility("region that ends before it starts") { $0.regions[1].end = 0x5ff000 },
        Hostility("empty region") { $0.regions[1].end = $0.regions[1].start },
        Hostility("unaligned region") { $0.regions[1].start += 1 },
        Hostility("regions that overlap") { $0.regions[1].start = 0x401000 },
        Hostility("regions out of order") { $0.regions.swapAt(0, 1) },
        Hostility("region beyond user space") { $0.regions[2].end = 1 << 60 },
        Hostility("region of unknown kind") { $0.regions[0].kind = 99 },
        Hostility("region with impossible protection") { $0.regions[0].protection = 8 },
        Hostility("region path out of range") { $0.regions[0].path = 1 << 30 },
        Hostility("region offset unaligned") { $0.regions[0].file_offset = 5 },
        Hostility("block outside every region") { $0.blocks[1].address = 0x500000 },
        Hostility("block that reaches out of its region") { $0.blocks[0].address = 0x401000 },
        Hostility("block before its region") { $0.blocks[0].address = 0x3ff000 },
        Hostility("block behind the last region") { $0.blocks[4].address = 0x7fff_1000_0000 },
        Hostility("block at the end of the numbers") { $0.blocks[4].address = UInt64.max - 4095 },
        Hostility("blocks that overlap in memory") { $0.blocks[2].address = 0x601000 },
        Hostility("blocks out of order") { $0.blocks.swapAt(1, 2) },
        Hostility("block of no length") { ($0.blocks[1].length, $0.blocks[1].stored_length) = (0, 0) },
        Hostility("block of absurd length") { ($0.blocks[0].length, $0.blocks[0].stored_length) = (.max, .max) },
        Hostility("block whose length overflows") { $0.blocks[0].length = UInt64.max - 0x400000 + 1 },
        Hostility("block of half a page") { ($0.blocks[1].length, $0.blocks[1].stored_length) = (2048, 2048) },
        Hostility("block that stores less than it has") { $0.blocks[0].stored_length = 4096 },
        Hostility("block longer than the maximum") {
            $0.regions[1].end = 0x600000 + (4 << 20)
            $0.blocks.removeSubrange(2...3)
            ($0.blocks[1].length, $0.blocks[1].stored_length) = (2 << 20, 2 << 20)
            $0.data += [UInt8](repeating: 0, count: 2 << 20)
        },
        Hostility("block of unknown encoding") { $0.blocks[0].encoding = 1 },
        Hostility("block in the first page") { $0.blocks[0].offset = 0 },
        Hostility("block at an unaligned offset") { $0.blocks[0].offset += 8 },
        Hostility("block in the metadata") { $0.blocks[0].offset = UInt64(4096 + $0.data.count) },
        Hostility("block beyond the file") { $0.blocks[0].offset = 1 << 40 },
        Hostility("block offset that overflows") { $0.blocks[0].offset = UInt64.max & ~4095 },
        Hostility("two blocks with the same bytes") { $0.blocks[2].offset = $0.blocks[0].offset },
        Hostility("guard with content") { $0.blocks[3].stored_length = 4096 },
        Hostility("guard with a checksum") { $0.blocks[3].checksum = 1 },
        Hostility("blob over a block") { $0.blobs[0].offset = $0.blocks[0].offset },
        Hostility("blob beyond the file") { $0.blobs[0].offset = 1 << 50 },
        Hostility("blob of absurd length") { $0.blobs[0].length = .max },
        Hostility("blob that reaches into the metadata") { $0.blobs[0].length = 8193 },
        Hostility("blob at an unaligned offset") { $0.blobs[0].offset += 1 },
        Hostility("wrong checksum of a block") { $0.blocks[0].checksum ^= 1 },
        Hostility("wrong checksum of a blob") { $0.blobs[0].checksum ^= 1 },
        Hostility("data that belongs to nothing") { $0.data[2 * 4096 + 4096 + 5] = 9 },
    ]

    static let process: [Hostility] = [
        Hostility("strings without an end") { $0.strings[$0.strings.count - 1] = 65 },
        Hostility("strings without the empty one") { $0.strings[0] = 65 },
        Hostility("no strings at all") { $0.strings = [] },
        Hostility("header string out of range") { $0.header.host_name = .max },
        Hostility("process string out of range") { $0.process.terminal = UInt32($0.strings.count) },
        Hostility("pid 0") { $0.process.pid = 0 },
        Hostility("pid beyond the kernel's") { ($0.process.pid, $0.threads[0].tid) = (5_000_000, 5_000_000) },
        Hostility("no thread") { $0.threads = [] },
        Hostility("no checkpoint thread") { $0.threads.removeLast() },
        Hostility("leader that is not the process") { $0.threads[0].tid = 9 },
        Hostility("two leaders") { $0.threads[1].flags = SCP_THREAD_LEADER.rawValue },
        Hostility("checkpoint thread in the middle") { $0.threads.swapAt(1, 2) },
        Hostility("one tid twice") { $0.threads[1].tid = 1235 },
        Hostility("tid 0") { $0.threads[1].tid = 0 },
        Hostility("63 actions") { $0.actions.removeLast() },
        Hostility("no actions") { $0.omitted = [SCP_NOTE_ACTIONS.rawValue] },
        Hostility("no process") { $0.omitted = [SCP_NOTE_PROCESS.rawValue] },
        Hostility("two process notes") { $0.repeated = [SCP_NOTE_PROCESS.rawValue] },
        Hostility("pending signal of a stranger") { $0.pending[0].tid = 77 },
        Hostility("parent beyond all numbers") { $0.process.ppid = .max },
        Hostility("session beyond all numbers") { $0.process.sid = 1 << 23 },
        Hostility("exit signal out of range") { $0.process.exit_signal = 65 },
        Hostility("ended child with the id of a thread") { $0.zombies = [zombie(1236)] },
        Hostility("two ended children with one id") { $0.zombies = [zombie(70), zombie(70)] },
        Hostility("ended child without an id") { $0.zombies = [zombie(0)] },
        Hostility("ended child with an impossible status") { $0.zombies = [zombie(70, status: -1)] },
        Hostility("auxiliary vector without an end") { $0.auxiliaryVector = [6, 4096] },
        Hostility("half an auxiliary vector") { $0.auxiliaryVector = [0] },
        Hostility("object of unknown kind") { $0.objects[0].kind = 0 },
        Hostility("object path out of range") { $0.objects[0].path = .max },
        Hostility("object socket out of range") { $0.objects[0].socket = .max },
        Hostility("object content out of range") { $0.objects[1].blob = 2 },
        Hostility("descriptor of no object") { $0.descriptors[3].object = 3 },
        Hostility("descriptor below zero") { $0.descriptors[0].number = -1 },
        Hostility("one descriptor twice") { $0.descriptors[1].number = 0 },
        Hostility("watch of no object") { $0.watches[0].object = 3 },
        Hostility("watch of a file") { $0.watches[0].object = 1 },
        Hostility("watch whose target is out of range") { $0.watches[0].target_object = 3 },
        Hostility("watch whose target is below nothing") { $0.watches[0].target_object = -2 },
        Hostility("watch path out of range") { $0.watches[0].path = .max },
        Hostility("lock of no object") { $0.locks[0].object = 3 },
        Hostility("lock of unknown kind") { $0.locks[0].kind = 0 },
    ]

    static let layout: [Hostility] =
        (SCP_NOTE_IMAGE.rawValue...SCP_NOTE_AUXV.rawValue).filter { $0 != SCP_NOTE_STRINGS.rawValue }.map { note in
            Hostility("note \(note) with a broken record") { $0.padding = [note: 1] }
        } + [
            Hostility("image header twice") { $0.repeated = [SCP_NOTE_IMAGE.rawValue] },
            Hostility("image header of another size") { $0.header.header_size = 248 },
            Hostility("image header with another magic") { $0.header.magic = 1 },
            Hostility("other machine in the header") { $0.header.machine = 183 },
            Hostility("pages of 64 KiB") { $0.header.page_size = 65536 },
            Hostility("absurd count of program headers") { $0.claimedProgramHeaders = 0xfffe },
            Hostility("no program headers") { $0.claimedProgramHeaders = 0 },
            Hostility("the note segment is not counted") { $0.claimedProgramHeaders = 4 },
            Hostility("absurd count in the section header") {
                $0.usesXNUM = true
                $0.claimedProgramHeaders = .max
            },
            Hostility("segment beyond the file") { $0.segments?[0].offset = 1 << 62 },
            Hostility("note segment before the metadata") { $0.editMetadata = { $0.put(UInt64(4096), 4 * 56 + 8) } },
            Hostility("note segment beyond the file") { $0.editMetadata = { $0.put(UInt64.max - 1, 4 * 56 + 8) } },
            Hostility("note segment of absurd length") { $0.editMetadata = { $0.put(UInt64.max, 4 * 56 + 32) } },
            Hostility("two note segments") { $0.editMetadata = { $0.put(UInt32(4), 0) } },
            Hostility("no note segment") { $0.editMetadata = { $0.put(UInt32(1), 4 * 56) } },
            Hostility("segment larger in the file than in memory") { $0.editMetadata = { $0.put(UInt64(0), 40) } },
            Hostility("segment that wraps around") { $0.editMetadata = { $0.put(UInt64.max - 5, 16) } },
            Hostility("segment beyond the data") { $0.editMetadata = { $0.put(UInt64(1) << 40, 8) } },
            Hostility("first note with an absurd name length") { $0.editMetadata = { $0.put(UInt32.max, 5 * 56) } },
            Hostility("first note with an absurd length") { $0.editMetadata = { $0.put(UInt32.max, 5 * 56 + 4) } },
            Hostility("note that ends within its header") { $0.editMetadata = { $0.put(UInt64(8), 4 * 56 + 32) } },
        ]
}

extension [UInt8] {
    /// Overwrites the bytes at `offset` with a number.
    mutating func put<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number, _ offset: Int) {
        replaceSubrange(offset..<offset + MemoryLayout<Number>.size, with: raw([number.littleEndian]))
    }
}

@Suite struct HostileImageTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: Hostility.memory + Hostility.process + Hostility.layout)
    func isRefusedAsDamaged(_ hostility: Hostility) throws {
        var builder = ImageBuilder.small()
        #expect(try problem(builder.bytes(), in: folder) == nil)
        builder.segments = builder.blocks
        hostility.edit(&builder)
        let error = try #require(try problem(builder.bytes(), in: folder))
        #expect(error.kind == .damaged)
        #expect(error.exitStatus == 4)
        #expect(!error.text.isEmpty && !error.text.contains("\n"))
    }

    @Test func aCoreFileWithoutNotesOfOursIsNoImage() throws {
        var builder = ImageBuilder.small()
        builder.omitted = Set(SCP_NOTE_IMAGE.rawValue...SCP_NOTE_ZOMBIES.rawValue)
        #expect(try problem(builder.bytes(), in: folder)?.kind == .notAnImage)
    }

    @Test func ourFirstNoteMustBeTheHeader() throws {
        var builder = ImageBuilder.small()
        builder.omitted = [SCP_NOTE_IMAGE.rawValue]
        #expect(try problem(builder.bytes(), in: folder)?.kind == .damaged)
    }

    @Test func aHugeSparseFileDoesNotTakeMemory() throws {
        let path = try folder.write(ImageBuilder.small().bytes())
        #expect(truncate(path, 1 << 42) == 0)
        #expect(throws: ImageError.self) { try Image(path: path) }
    }

    @Test func cutAtEveryPageItIsRefused() throws {
        let bytes = ImageBuilder.small().bytes()
        for length in stride(from: 0, to: bytes.count, by: 4096) {
            let error = try problem(Array(bytes[..<length]), in: folder)
            #expect(error?.exitStatus == 4, "cut at \(length)")
        }
    }

    @Test func cutAtEveryByteOfTheMetadataOrOfTheFirstPageItIsRefused() throws {
        let bytes = ImageBuilder.small().bytes()
        let metadata = Int(LittleEndian(bytes).u64(32))
        let path = try folder.write(bytes)
        for length in (metadata..<bytes.count).reversed() + (0...4096).reversed() {
            #expect(truncate(path, off_t(length)) == 0)
            #expect(throws: ImageError.self, "cut at \(length)") { try Image(path: path) }
        }
    }

    @Test func oneByteMoreIsRefused() throws {
        #expect(try problem(ImageBuilder.small().bytes() + [0], in: folder)?.kind == .damaged)
    }

    @Test(.timeLimit(.minutes(3)), arguments: [0, 1, 2, 3])
    func oneBitFlippedAnywhereIsFound(_ part: Int) throws {
        let bytes = ImageBuilder.small().bytes()
        var random = SeededNumbers(seed: UInt64(part))
        let path = try folder.write(bytes)
        let file = try Patch(path)
        for index in stride(from: part, to: bytes.count, by: 4) {
            // The first bytes and the metadata's beginning decide how all else is read: every bit of them.
            let bits = index < 64 ? Array(0..<8) : [Int(random.next() % 8)]
            for bit in bits {
                file.set(index, bytes[index] ^ (1 << bit))
                let isSound = (try? Image(path: path).verify().isSound) ?? false
                #expect(!isSound, "bit \(bit) of byte \(index)")
            }
            file.set(index, bytes[index])
        }
        #expect(try Image(path: path).verify().isSound)
    }

    /// Whatever the bytes are: an error or a sound image, never a trap.
    @Test(.timeLimit(.minutes(3)), arguments: 0..<8)
    func randomDamageNeverBreaksTheReader(_ seed: UInt64) throws {
        var random = SeededNumbers(seed: seed &* 7919 &+ 17)
        for _ in 0..<400 {
            var builder = ImageBuilder.small()
            builder.usesXNUM = random.next() % 4 == 0
            // The checksum is taken after the damage, so that it reaches the checks behind it.
            let changes = random.changes(upTo: 6)
            builder.editMetadata = { bytes in
                for change in changes { bytes.put(change.value, Int(change.place % UInt64(bytes.count - 8))) }
            }
            _ = try problem(builder.bytes(), in: folder)
        }
    }
}

/// A file whose bytes are changed in place.
struct Patch: ~Copyable {
    private let descriptor: Int32

    init(_ path: String) throws {
        descriptor = open(path, O_WRONLY | O_CLOEXEC)
        try #require(descriptor >= 0)
    }

    deinit { close(descriptor) }

    func set(_ offset: Int, _ byte: UInt8) {
        var byte = byte
        #expect(pwrite(descriptor, &byte, 1, off_t(offset)) == 1)
    }
}

/// Numbers that are the same in every run. *Source:* SplitMix64 (Steele, Lea, Flood 2014).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Places and values, half of the values near the borders that overflow.
    mutating func changes(upTo most: UInt64) -> [(place: UInt64, value: UInt64)] {
        let borders: [UInt64] = [0, 1, 4095, 4096, 1 << 31, 1 << 32, 1 << 47, 1 << 63, .max - 4095, .max]
        return (0...next() % most).map { _ in
            (next() / 4 * 4, next() % 2 == 0 ? next() : borders[Int(next() % UInt64(borders.count))])
        }
    }
}

/// A child that has ended.
private func zombie(_ pid: UInt32, status: Int32 = 0) -> scp_zombie {
    var record = scp_zombie()
    (record.pid, record.pgid, record.sid, record.exit_signal, record.status) = (pid, 1234, 1234, 17, status)
    return record
}
