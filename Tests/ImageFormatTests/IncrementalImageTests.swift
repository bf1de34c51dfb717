import CSwiftCP
import Glibc
import Testing

@testable import ImageFormat

/// Generations 3 to 5 of one process: a full image, one that needs it, one that needs both.
private struct Chain {
    static let name = "counter_1234.swiftcp"
    let folder: TemporaryFolder
    var first = ImageBuilder.small()
    var second: ImageBuilder
    var third: ImageBuilder

    init(compressed: Bool = false) throws {
        folder = try TemporaryFolder()
        if compressed { first = .compressed() }
        (second, third) = (Self.follower(of: first, 4), Self.follower(of: first, 5))
        let changed = ImageBuilder.pattern(1, seed: 9)
        second.replace(1, with: changed)
        try write(first, 3)
        second.needs = [try need(&second, 3)]
        try write(second, 4)
        third.needs = [try need(&third, 3), try need(&third, 4)]
        third.blocks[1] = second.blocks[1]
        third.blocks[1].file = 2
        third.replace(2, with: ImageBuilder.pattern(2, seed: 10))
    }

    /// All blocks lead to the first image.
    private static func follower(of first: ImageBuilder, _ generation: UInt32) -> ImageBuilder {
        var image = first
        (image.header.generation, image.data, image.chunks, image.segments) = (generation, [], [], [])
        image.blobs = []
        image.objects[1].blob = SCP_NO_BLOB
        for index in image.blocks.indices where !image.blocks[index].isGuard { image.blocks[index].file = 1 }
        return image
    }

    func path(_ generation: UInt32) -> String { folder.path + "/gen-00000\(generation)/" + Self.name }

    @discardableResult
    func write(_ builder: ImageBuilder, _ generation: UInt32) throws -> String {
        try folder.write(builder.bytes(), "gen-00000\(generation)/" + Self.name)
    }

    func need(_ builder: inout ImageBuilder, _ generation: UInt32) throws -> scp_ancestor {
        let image = try Image(path: path(generation))
        return scp_ancestor(
            generation: generation, name: builder.string(Self.name), metadata_checksum: image.header.metadata_checksum)
    }

    /// The third image.
    func image() throws -> Image { try Image(path: write(third, 5)) }

    /// Why the third image is refused; nil when it is sound.
    func problem() throws -> ImageError? {
        try ImageFormatTests.problem(third.bytes(), in: folder, as: "gen-000005/" + Self.name)
    }
}

extension ImageBuilder {
    /// The block gets content of its own.
    fileprivate mutating func replace(_ index: Int, with content: [UInt8]) {
        let address = blocks[index].address
        addBlock(address, content)
        blocks[index] = blocks.removeLast()
    }
}

@Suite struct IncrementalImageTests {
    @Test(arguments: [false, true]) func memoryIsReadFromWhereverItStands(_ compressed: Bool) throws {
        let image = try Chain(compressed: compressed).image()
        #expect(image.isIncremental && image.ancestors.count == 2)
        #expect(try image.memory(at: 0x400000, count: 8192) == ImageBuilder.pattern(2, seed: 1))
        #expect(try image.memory(at: 0x601000, count: 4096) == ImageBuilder.pattern(1, seed: 9))
        #expect(try image.memory(at: 0x603000, count: 8192) == ImageBuilder.pattern(2, seed: 10))
        #expect(try image.verify().isSound)
        let info = try ImageInfo(image)
        #expect(info.incremental && info.needs.map(\.generation) == [3, 4])
        #expect(info.needs[1].bytes == 4096 && info.memory.stored == 8192)
    }

    @Test(arguments: [false, true]) func flattenedItNeedsNoOther(_ compressed: Bool) throws {
        let chain = try Chain(compressed: compressed)
        let image = try chain.image()
        for (name, write) in [("flat", image.flatten), ("core", image.writeCore)] {
            try write(chain.folder.path + "/" + name)
            let flat = try Image(path: chain.folder.path + "/" + name)
            #expect(!flat.isIncremental && !flat.isCompressed)
            #expect(try flat.verify().isSound)
            #expect(try Difference(image, flat).differs == false)
        }
    }

    @Test func differencesAreToldByPage() throws {
        let chain = try Chain()
        let difference = try Difference(Image(path: chain.path(3)), chain.image())
        #expect(difference.pages == 3 && difference.differs)
        #expect(difference.regions.map(\.change) == [.content])
        #expect(difference.regions[0].stretches.map(\.start) == ["601000", "603000"])
        #expect(difference.regions[0].stretches.map(\.pages) == [1, 2])
        #expect(difference.text.hasSuffix("3 pages (12.0 KiB) in 1 regions differ\n"))
    }

    @Test func regionsThatOnlyOneHasAreTold() throws {
        let chain = try Chain()
        var other = ImageBuilder.small()
        other.regions[2].protection = 1
        other.addRegion(0x7fff_1000_0000, pages: 2)
        other.addBlock(0x7fff_1000_1000, ImageBuilder.pattern(1, seed: 7))
        let path = try chain.folder.write(other.bytes(), "other_1.swiftcp")
        let difference = try Difference(Image(path: chain.path(3)), Image(path: path))
        #expect(difference.regions.map(\.change) == [.remapped, .added])
        #expect(difference.regions.map(\.pages) == [0, 1])
    }

    // MARK: - What is refused

    @Test func anAncestorThatIsMissingIsNamed() throws {
        let chain = try Chain()
        let path = try chain.write(chain.third, 5)
        try chain.folder.write(ImageBuilder.small().bytes(), "gen-000004/other_1.swiftcp")
        #expect(rename(chain.path(4), chain.path(4) + ".gone") == 0)
        let error = try #require(throws: ImageError.self) { try Image(path: path) }
        #expect(error.kind == .missing && error.exitStatus == 4)
        #expect(error.path.hasSuffix("gen-000004/" + Chain.name) && error.text.contains(path))
        #expect(try Image(path: path, alone: true).needs.count == 2)
    }

    @Test func anotherFileInAnAncestorsPlaceIsRefused() throws {
        var chain = try Chain()
        chain.second.header.created_realtime += 1
        try chain.write(chain.second, 4)
        let error = try #require(try chain.problem())
        #expect(error.kind == .missing && error.exitStatus == 4)
    }

    @Test func aChangedByteInAnAncestorIsFound() throws {
        let chain = try Chain()
        var bytes = chain.first.bytes()
        bytes[4096] ^= 1
        try chain.folder.write(bytes, "gen-000003/" + Chain.name)
        let error = try #require(try chain.problem())
        #expect(error.kind == .damaged && error.text.contains("its checksum is wrong"))
    }

    @Test(arguments: [
        "../gen-000003/counter_1234.swiftcp", "/etc/passwd", "..", "", "counter_1234.swiftcp/x", "counter_1.swiftcp",
    ])
    func aNameThatIsNoPlainImageNameIsRefused(_ name: String) throws {
        var chain = try Chain()
        chain.third.needs[0].name = chain.third.string(name)
        #expect(try chain.problem()?.kind == .damaged)
    }

    @Test(arguments: [0, 5, 6, UInt32.max]) func noImageNeedsItselfOrALaterOne(_ generation: UInt32) throws {
        var chain = try Chain()
        chain.third.needs[1].generation = generation
        #expect(try chain.problem()?.kind == .damaged)
    }

    /// Each edit makes an image with right checksums that contradicts itself or its ancestors.
    private static let edits: [@Sendable (inout ImageBuilder) -> Void] = [
        { $0.blocks[0].file = 3 },
        { $0.blocks[0].file = .max },
        { $0.blocks[0].reserved = 1 },
        { $0.blocks[0].offset += 1 },
        { $0.blocks[0].offset = 0 },
        { $0.blocks[0].offset = 1 << 40 },
        { $0.blocks[0].offset = .max - 4095 },
        { $0.blocks[0].offset += 4096 },
        { $0.blocks[0].checksum ^= 1 },
        { $0.blocks[0].stored_length = 4096 },
        { $0.blocks[3].file = 1 },  // the guard page
        { $0.needs[1].generation = 3 },
        { $0.needs[1].name = 1 << 30 },
        { $0.needs = [] },
        { $0.needs += Array(repeating: $0.needs[0], count: 62) },
        { $0.header.computation = $0.string("other") },
    ]

    @Test(arguments: edits.indices) func aTableThatContradictsTheChainIsRefused(_ number: Int) throws {
        for compressed in [false, true] {
            var chain = try Chain(compressed: compressed)
            Self.edits[number](&chain.third)
            #expect(try chain.problem()?.exitStatus == 4)
        }
    }
}
