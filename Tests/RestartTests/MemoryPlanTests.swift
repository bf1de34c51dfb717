import CSwiftCP
import Glibc
import ImageFormat
import SystemCalls
import Testing

@testable import Restart

@Suite("What the restorer is told to map and read")
struct MemoryPlanTests {
    @Test("Anonymous memory is read block by block, with its checksums; guard pages are made again")
    func anonymous() throws {
        let fixture = try Fixture(.small())
        let plan = try memoryPlan(fixture.image, try options())
        let region = plan.regions[1]
        #expect(region.start == 0x600000 && region.source == SCP_PLAN_ANONYMOUS.rawValue)
        let pieces = plan.pieces[Int(region.first_piece)..<Int(region.first_piece + region.piece_count)]
        #expect(pieces.map(\.address) == [0x601000, 0x603000, 0x607000])
        #expect(pieces.map(\.kind) == [SCP_PLAN_READ.rawValue, SCP_PLAN_READ.rawValue, SCP_PLAN_GUARD.rawValue])
        #expect(pieces.first?.checksum == fixture.image.blocks[1].checksum)
        #expect(plan.lazyBlocks.isEmpty)
    }

    @Test("A mapped file that is gone becomes memory with everything the program saw of it")
    func fileGone() throws {
        var builder = ImageBuilder.small()
        builder.regions[0].path = builder.string("/nonexistent/program")
        builder.blocks[0].flags = SCP_BLOCK_CLEAN.rawValue
        let plan = try memoryPlan(try Fixture(builder).image, try options())
        #expect(plan.regions[0].source == SCP_PLAN_ANONYMOUS.rawValue)
        #expect(plan.regions[0].piece_count == 1)
    }

    @Test("An unchanged file is mapped; only what the program has changed is read over it")
    func fileUnchanged() throws {
        let folder = try Fixture(.small())
        let file = folder.folder + "/mapped"
        try Fixture.write([UInt8](repeating: 1, count: 8192), to: file)
        let status = try Files.status(file)
        var builder = ImageBuilder.small()
        builder.regions[0].path = builder.string(file)
        (builder.regions[0].device, builder.regions[0].inode) = (status.device, status.inode)
        (builder.regions[0].file_size, builder.regions[0].file_mtime) = (UInt64(status.size), status.modified)
        builder.blocks[0].flags = SCP_BLOCK_CLEAN.rawValue
        let clean = try memoryPlan(try Fixture(builder).image, try options())
        #expect(clean.regions[0].source == SCP_PLAN_PRIVATE_FILE.rawValue)
        #expect(clean.regions[0].piece_count == 0)
        builder.blocks[0].flags = 0
        #expect(try memoryPlan(try Fixture(builder).image, try options()).regions[0].piece_count == 1)
        builder.regions[0].file_mtime += 1
        let changed = try memoryPlan(try Fixture(builder).image, try options())
        #expect(changed.regions[0].source == SCP_PLAN_ANONYMOUS.rawValue)
        withExtendedLifetime(folder) {}
    }

    @Test("A file mapped for sharing must be there and long enough, or be in the image; the sentence names it")
    func sharedFile() throws {
        let folder = try Fixture(.small())
        let file = folder.folder + "/mapped"
        var builder = ImageBuilder.small()
        builder.regions[0].kind = SCP_REGION_SHARED_FILE.rawValue
        builder.regions[0].path = builder.string(file)
        builder.regions[0].file_size = 8192
        builder.regions[0].protection = 1
        let readable = try Fixture(builder)
        builder.regions[0].protection = 3
        let image = try Fixture(builder)
        let missing = try #require(throws: RestartError.self) {
            _ = try memoryPlan(readable.image, try options())
        }
        #expect(missing.message.contains(file) && missing.message.contains("missing"))
        try Fixture.write([1, 2, 3], to: file)
        let short = try #require(throws: RestartError.self) { _ = try memoryPlan(image.image, try options()) }
        #expect(short.message.contains("shorter now (3 bytes)"))
        unlink(file)
        let plan = try memoryPlan(image.image, try options())
        #expect(plan.regions[0].source == SCP_PLAN_SHARED_DESCRIPTOR.rawValue && plan.descriptors.count == 1)
        #expect(plan.regions[0].piece_count == 1)
        #expect(try Files.status(file).size == 8192)  // made again; the restorer fills it
        unlink(file)  // as another JVM does with the counters of a dead one: the plan has the file, not its name
        var status = stat()
        #expect(fstat(try #require(plan.descriptors.first), &status) == 0 && status.st_size == 8192)
        try Fixture.write([UInt8](repeating: 0, count: 8192), to: file)
        let read = try memoryPlan(readable.image, try options())
        #expect(read.regions[0].source == SCP_PLAN_SHARED_FILE.rawValue && read.regions[0].piece_count == 0)
        withExtendedLifetime(folder) {}
    }

    @Test("Shared memory of one region stays anonymous; several regions share one object of the right size")
    func sharedMemory() throws {
        var builder = ImageBuilder.small()
        for index in 0...1 {
            builder.regions[index].kind = SCP_REGION_SHARED_ANONYMOUS.rawValue
            builder.regions[index].object = UInt64(70 + index)
        }
        let apart = try memoryPlan(try Fixture(builder).image, try options())
        #expect(apart.regions[0].source == SCP_PLAN_SHARED_ANONYMOUS.rawValue && apart.objects.isEmpty)
        builder.regions[0].object = 71
        builder.regions[0].file_offset = 65536
        let together = try memoryPlan(try Fixture(builder).image, try options())
        #expect(together.regions[1].source == SCP_PLAN_SHARED_OBJECT.rawValue)
        #expect(together.objects.map(\.size) == [65536 + 8192])
        let descriptor = try memoryPlan(try Fixture(builder).image, try options(), found: 17)
        #expect(descriptor.regions[0].source == SCP_PLAN_SHARED_DESCRIPTOR.rawValue)
        #expect(descriptor.descriptors == [17])
        #expect(descriptor.regions[0].object == SCP_PLAN_DESCRIPTOR_OBJECTS.rawValue)
    }

    @Test("A lazy restart maps large content in one stretch and reads the rest")
    func lazy() throws {
        var builder = ImageBuilder()
        builder = .small()
        builder.addRegion(0x7fff_1000_0000, pages: 2048)
        for index in 0..<8 {
            builder.addBlock(0x7fff_1000_0000 + UInt64(index) << 20, ImageBuilder.pattern(256, seed: UInt8(index)))
        }
        let fixture = try Fixture(builder)
        let plan = try memoryPlan(fixture.image, try options(), lazy: true)
        let region = try #require(plan.regions.last)
        #expect(region.piece_count == 1)
        let piece = plan.pieces[Int(region.first_piece)]
        #expect(piece.kind == SCP_PLAN_MAP.rawValue && piece.length == 8 << 20)
        #expect(plan.lazyBlocks.count == 8)
        #expect(plan.pieces.filter { $0.kind == SCP_PLAN_READ.rawValue }.count == 4)
        builder.regions[3].flags = SCP_REGION_LOCKED.rawValue
        #expect(try memoryPlan(try Fixture(builder).image, try options(), lazy: true).lazyBlocks.isEmpty)
    }

    @Test("The kernel's pages are kept clear, or put back as memory where the vdso is another")
    func vdso() throws {
        var builder = ImageBuilder.small()
        builder.regions[1].kind = SCP_REGION_VDSO.rawValue
        let image = try Fixture(builder)
        let moved = try memoryPlan(image.image, try options())
        #expect(moved.regions[1].source == SCP_PLAN_NOTHING.rawValue && moved.regions[1].piece_count == 0)
        let replaced = try memoryPlan(image.image, try options(), vdso: .trampolines([]))
        #expect(replaced.regions[1].source == SCP_PLAN_ANONYMOUS.rawValue && replaced.regions[1].piece_count == 3)
    }

    @Test("Damage in lazily mapped memory is found")
    func damage() throws {
        let fixture = try Fixture(.small())
        var sound = BlockVerifier([fixture.image], blocks: [[0, 1, 2]])
        while !sound.isDone { try sound.step() }
        let descriptor = open(fixture.path, O_RDWR)
        defer { close(descriptor) }
        var byte: UInt8 = 0
        let place = off_t(fixture.image.blocks[1].offset + 17)
        try #require(pread(descriptor, &byte, 1, place) == 1)
        byte ^= 4
        try #require(pwrite(descriptor, &byte, 1, place) == 1)
        var damaged = BlockVerifier([fixture.image], blocks: [[0, 1, 2]])
        let error = #expect(throws: ImageError.self) { try damaged.step() }
        #expect(error?.kind == .damaged && error?.text.contains("601000") == true)
        #expect(damaged.isDone)
    }
}
