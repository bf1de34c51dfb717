import CSwiftCP
import ImageFormat
import Testing

@testable import Restart

@Suite("Blocks that the program gets from elsewhere")
struct SparedBlocksTests {
    private func spared(_ builder: ImageBuilder, _ vdso: VDSOPlan = .move) throws -> [Int] {
        let fixture = try Fixture(builder)
        return try #require(SparedBlocks([fixture.image], [vdso]).blocks.first)
    }

    @Test("A file still has the pages that the program has not changed; a deleted one has not")
    func file() throws {
        var builder = ImageBuilder.small()
        builder.regions[0].kind = SCP_REGION_FILE.rawValue
        #expect(try spared(builder).isEmpty)
        builder.blocks[0].flags = SCP_BLOCK_CLEAN.rawValue
        #expect(try spared(builder) == [0])
        builder.regions[0].flags |= SCP_REGION_DELETED.rawValue
        #expect(try spared(builder).isEmpty)
    }

    @Test(
        "What the program cannot write to is not put back",
        arguments: [SCP_REGION_SHARED_FILE, SCP_REGION_SHARED_ANONYMOUS])
    func shared(kind: scp_region_kind) throws {
        var builder = ImageBuilder.small()
        builder.regions[0].kind = kind.rawValue
        builder.regions[0].protection = 1
        #expect(try spared(builder) == [0])
        builder.regions[0].protection = 3
        #expect(try spared(builder).isEmpty)
    }

    @Test("The kernel has its own pages, unless the old ones come back as memory; a guard page has nothing")
    func kernel() throws {
        var builder = ImageBuilder.small()
        builder.regions[1].kind = SCP_REGION_VDSO.rawValue
        #expect(try spared(builder) == [1, 2])
        #expect(try spared(builder, .trampolines([])).isEmpty)
    }
}
