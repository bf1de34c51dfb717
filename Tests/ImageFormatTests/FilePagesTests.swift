import CSwiftCP
import Glibc
import Testing

@testable import ImageFormat

/// An image of generation 7 two of whose blocks stand among the pages of mapped files: one that this generation has added,
/// one that generation 2 has.
private struct Shared {
    static let name = "counter_1234.swiftcp"
    let folder: TemporaryFolder
    var builder = ImageBuilder.small()

    init() throws {
        folder = try TemporaryFolder()
        builder.header.generation = 7
        for (index, name) in ["file-pages", "file-pages-000002"].enumerated() {
            let content = ImageBuilder.pattern(Int(builder.blocks[index].length) / 4096, seed: UInt8(40 + index))
            try write(name, identity: UInt64(100 + index), content: content)
            builder.addBlock(builder.blocks[index].address, content)  // its checksum
            builder.blocks[index].checksum = builder.blocks.removeLast().checksum
            (builder.blocks[index].file, builder.blocks[index].offset) = (UInt32(index + 1), 8192)
            builder.needs.append(
                scp_ancestor(
                    generation: 7, name: builder.string(name), metadata_checksum: UInt64(100 + index)))
        }
        // No hole is left where their bytes were.
        builder = Self.rebuilt(builder)
    }

    /// The same with its own blocks one behind the other.
    private static func rebuilt(_ old: ImageBuilder) -> ImageBuilder {
        var new = old
        (new.data, new.blobs) = ([], [])
        new.objects[1].blob = SCP_NO_BLOB
        for index in old.blocks.indices where old.blocks[index].file == 0 && !old.blocks[index].isGuard {
            new.addBlock(
                old.blocks[index].address,
                ImageBuilder.pattern(Int(old.blocks[index].length) / 4096, seed: UInt8(80 + index)))
            new.blocks[index] = new.blocks.removeLast()
        }
        return new
    }

    /// Header, a page for a record, content.
    func write(_ name: String, identity: UInt64, content: [UInt8], version: UInt32 = SCP_FORMAT_VERSION) throws {
        let header = scp_file_pages_header(
            magic: UInt64(SCP_FILE_PAGES_MAGIC), format_version: version, generation: 7, identity: identity)
        let start = withUnsafeBytes(of: header) { Array($0) }
        try folder.write(
            start + [UInt8](repeating: 0, count: 8192 - start.count) + content, "gen-000007/" + name)
    }

    func image() throws -> Image { try Image(path: folder.write(builder.bytes(), "gen-000007/" + Self.name)) }

    /// Why it is refused; nil when it is sound.
    func problem() throws -> ImageError? {
        try ImageFormatTests.problem(builder.bytes(), in: folder, as: "gen-000007/" + Self.name)
    }
}

@Suite struct FilePagesTests {
    @Test func memoryIsReadFromThem() throws {
        let shared = try Shared()
        let image = try shared.image()
        #expect(!image.isIncremental && image.ancestors.allSatisfy(\.isFilePages))
        for index in 0..<2 {
            let block = image.blocks[index]
            #expect(
                try image.memory(at: block.address, count: Int(block.length))
                    == ImageBuilder.pattern(Int(block.length) / 4096, seed: UInt8(40 + index)))
        }
        #expect(try image.verify().isSound)
        let info = try ImageInfo(image)
        #expect(!info.incremental && info.needs.map(\.generation) == [7, 7])
        #expect(info.text.contains("beside it") && info.needs[1].image.hasSuffix("gen-000007/file-pages-000002"))
    }

    @Test func flattenedItNeedsNone() throws {
        let shared = try Shared()
        let image = try shared.image()
        try image.flatten(to: shared.folder.path + "/flat")
        let flat = try Image(path: shared.folder.path + "/flat")
        #expect(flat.needs.isEmpty)
        #expect(try flat.verify().isSound)
        #expect(try Difference(image, flat).differs == false)
    }

    @Test func missingOnesAreNamed() throws {
        let shared = try Shared()
        #expect(unlink(shared.folder.path + "/gen-000007/file-pages-000002") == 0)
        let error = try #require(try shared.problem())
        #expect(error.kind == .missing && error.exitStatus == 4)
        #expect(error.path.hasSuffix("/file-pages-000002") && error.text.contains("files of a generation together"))
    }

    @Test func othersInTheirPlaceAreRefused() throws {
        let shared = try Shared()
        let content = ImageBuilder.pattern(2, seed: 40)
        try shared.write("file-pages", identity: 99, content: content)
        #expect(try shared.problem()?.text.contains("another has taken its place") == true)
        try shared.write("file-pages", identity: 100, content: content, version: SCP_FORMAT_VERSION - 1)
        #expect(try shared.problem()?.exitStatus == 4)
        try shared.folder.write(ImageBuilder.small().bytes(), "gen-000007/file-pages")
        #expect(try shared.problem()?.exitStatus == 4)
        try shared.folder.write([1, 2, 3], "gen-000007/file-pages")
        #expect(try shared.problem()?.text.contains("cut short") == true)
        try shared.write("file-pages", identity: 100, content: Array(content.prefix(4096)))
        #expect(try shared.problem()?.text.contains("beyond the end") == true)
    }

    @Test func aChangedByteIsFound() throws {
        let shared = try Shared()
        var content = ImageBuilder.pattern(2, seed: 40)
        content[5000] ^= 1
        try shared.write("file-pages", identity: 100, content: content)
        #expect(try shared.problem()?.text.contains("its checksum is wrong") == true)
    }

    @Test(arguments: [
        "file-pages-2", "file-pages-000000", "file-pages-", "file-pages-000002/x", "../file-pages", "pages",
    ])
    func aNameThatIsNotTheirsIsRefused(_ name: String) throws {
        var shared = try Shared()
        shared.builder.needs[0].name = shared.builder.string(name)
        #expect(try shared.problem()?.kind == .damaged)
    }

    @Test func noneOfALaterGenerationAndNoneTwice() throws {
        var shared = try Shared()
        shared.builder.needs[0].generation = 8
        #expect(try shared.problem()?.kind == .damaged)
        shared.builder.needs[0] = shared.builder.needs[1]
        #expect(try shared.problem()?.kind == .damaged)
    }
}
