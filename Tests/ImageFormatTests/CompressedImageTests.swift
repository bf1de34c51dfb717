import CSwiftCP
import Glibc
import Testing

@testable import ImageFormat

/// `count` times the same byte, as LZ4 stores it: one literal, a long match with it, five literals at the end.
/// *Source:* lz4_Block_format.md.
private func lz4(_ byte: UInt8, _ count: Int) -> [UInt8] {
    let extra = count - 1 - 5 - 4 - 15
    return [0x1f, byte, 1, 0] + [UInt8](repeating: 255, count: extra / 255) + [UInt8(extra % 255), 0x50]
        + [UInt8](repeating: byte, count: 5)
}

/// The same as a zstd frame: single segment, content size in eight bytes, one RLE block, the last. *Source:* RFC 8878.
private func zstd(_ byte: UInt8, _ count: Int, claimed: Int? = nil) -> [UInt8] {
    let header = UInt32(count << 3 | 1 << 1 | 1)
    return [0x28, 0xb5, 0x2f, 0xfd, 0xe0] + raw([UInt64(claimed ?? count)]) + raw([header]).prefix(3) + [byte]
}

private func isConstant(_ bytes: [UInt8]) -> Bool { bytes.allSatisfy { $0 == bytes[0] } && bytes[0] != 0 }

extension ImageBuilder {
    /// The small image with eight more pages, 0x41 and 0x42; chunks of four pages: some as they are, one LZ4, one zstd.
    static func compressed(
        last: ([UInt8]) -> (scp_chunk_encoding, [UInt8]) = { (SCP_CHUNK_ZSTD, zstd($0[0], $0.count)) }
    ) -> ImageBuilder {
        var image = ImageBuilder.small()
        image.addRegion(0x7fff_1000_0000, pages: 8)
        image.data += [UInt8](repeating: 0, count: (4 * page - image.data.count % (4 * page)) % (4 * page))
        image.addBlock(
            0x7fff_1000_0000,
            [UInt8](repeating: 0x41, count: 4 * page) + [UInt8](repeating: 0x42, count: 4 * page))
        image.compress(pages: 4) { content in
            guard isConstant(content) else { return nil }
            return content[0] == 0x41 ? (SCP_CHUNK_LZ4, lz4(0x41, content.count)) : last(content)
        }
        return image
    }
}

@Suite struct CompressedImageTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test func memoryIsThatOfThePlainImage() throws {
        let image = try Image(path: folder.write(ImageBuilder.compressed().bytes()))
        #expect(image.isCompressed)
        #expect(Set(image.chunks.map(\.encoding)) == [0, 1, 2])
        #expect(try image.memory(at: 0x601000, count: 4096) == ImageBuilder.pattern(1, seed: 2))
        let middle = try image.memory(at: 0x7fff_1000_3ffe, count: 4)
        #expect(middle == [0x41, 0x41, 0x42, 0x42])
        #expect(try image.verify().isSound)
    }

    @Test func itTellsHowItIsCompressed() throws {
        let info = try ImageInfo(Image(path: folder.write(ImageBuilder.compressed().bytes())))
        #expect(info.compression?.chunks["lz4"] == 1)
        #expect(info.compression?.chunks["zstd"] == 1)
        #expect(try #require(info.compression).ratio > 1)
        #expect(info.text.contains("lz4, zstd"))
        #expect(try ImageInfo(Image(path: folder.write(ImageBuilder.small().bytes()))).compression == nil)
    }

    @Test func aChangedBitOfAnyChunkIsFound() throws {
        let builder = ImageBuilder.compressed()
        let sound = builder.bytes()
        for (number, chunk) in builder.chunks.enumerated() {
            for place in [chunk.offset, chunk.offset + chunk.stored_length / 2, chunk.offset + chunk.stored_length - 1]
            {
                var bytes = sound
                bytes[Int(place)] ^= 4
                let found = try problem(bytes, in: folder)
                #expect(found?.text == "chunk \(number): its checksum is wrong")
            }
        }
    }

    @Test func itsCoreIsAPlainImageOfTheSameMemory() throws {
        let image = try Image(path: folder.write(ImageBuilder.compressed().bytes()))
        try image.writeCore(to: folder.path + "/core")
        let core = try Image(path: folder.path + "/core")
        #expect(!core.isCompressed)
        #expect(try core.verify().isSound)
        #expect(core.blocks.map(\.checksum) == image.blocks.map(\.checksum))
        #expect(core.blobs.map(\.checksum) == image.blobs.map(\.checksum))
        for block in image.blocks where !block.isGuard {
            let (one, other) = (
                try image.memory(at: block.address, count: Int(block.length)),
                try core.memory(at: block.address, count: Int(block.length))
            )
            #expect(one == other)
        }
    }

    static let tables: [Hostility] = [
        Hostility("chunk in the first page of the content") { $0.chunks[0].place = 0 },
        Hostility("chunk at an unaligned place") { $0.chunks[1].place += 8 },
        Hostility("chunks out of order") { $0.chunks.swapAt(0, 1) },
        Hostility("chunks that overlap in the content") { $0.chunks[1].place -= 4096 },
        Hostility("chunk at the end of the numbers") { $0.chunks[4].place = UInt64.max - 4095 },
        Hostility("chunk of no length") { $0.chunks[1].length = 0 },
        Hostility("chunk of half a page") { $0.chunks[3].length = 2048 },
        Hostility("chunk longer than the maximum") { $0.chunks[4].length = 2 << 20 },
        Hostility("chunk of absurd length") { $0.chunks[4].length = .max & ~4095 },
        Hostility("chunk that stores nothing") { $0.chunks[3].stored_length = 0 },
        Hostility("chunk that stores more than it has") { $0.chunks[3].stored_length = $0.chunks[3].length },
        Hostility("chunk stored as it is, but shorter") { $0.chunks[0].stored_length -= 1 },
        Hostility("chunk of unknown encoding") { $0.chunks[3].encoding = 3 },
        Hostility("chunk with a reserved field") { $0.chunks[3].reserved = 1 },
        Hostility("chunk in the first page of the file") { $0.chunks[0].offset = 0 },
        Hostility("chunk beyond the file") { $0.chunks[4].offset = 1 << 40 },
        Hostility("chunk whose offset overflows") { $0.chunks[4].offset = .max },
        Hostility("two chunks with the same bytes") { $0.chunks[1].offset = $0.chunks[0].offset },
        Hostility("blob in a chunk") { $0.blobs[0].offset = 8192 },
        Hostility("block that no chunk has") { $0.chunks.removeLast() },
        Hostility("block beyond the content") { $0.blocks[4].offset = 1 << 40 },
        Hostility("block at the end of the numbers") { $0.blocks[4].offset = UInt64.max & ~4095 },
        Hostility("block at an unaligned place") { $0.blocks[0].offset += 8 },
        Hostility("two blocks with the same content") { $0.blocks[2].offset = $0.blocks[0].offset },
    ]

    @Test(arguments: tables)
    func itIsRefusedAsDamaged(_ hostility: Hostility) throws {
        var builder = ImageBuilder.compressed()
        hostility.edit(&builder)
        let path = try folder.write(builder.bytes())
        let error = #expect(throws: ImageError.self) { try Image(path: path) }
        #expect(error?.kind == .damaged)
    }

    /// Its checksum is right: only unpacking tells.
    static let streams: [(String, [UInt8])] = [
        ("more than the chunk", zstd(0x42, 5 * 4096)), ("less than the chunk", zstd(0x42, 3 * 4096)),
        ("a frame that claims another length", zstd(0x42, 4 * 4096, claimed: 1 << 40)),
        ("a frame that has less than it claims", zstd(0x42, 3 * 4096, claimed: 4 * 4096)),
        ("bytes behind the frame", zstd(0x42, 4 * 4096) + [0]),
        ("two frames", zstd(0x42, 2 * 4096) + zstd(0x42, 2 * 4096)),
        ("a frame cut short", zstd(0x42, 4 * 4096).dropLast()),
        ("a frame of an old format", [0x27, 0xb5, 0x2f, 0xfd] + [UInt8](repeating: 0, count: 20)),
        ("a frame to be skipped", [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]),
        ("noise", [1, 2, 3, 4, 5, 6, 7, 8]), ("one byte", [0x28]),
    ]

    @Test(arguments: streams)
    func whatDoesNotUnpackIsDamage(_ what: String, _ bytes: [UInt8]) throws {
        let builder = ImageBuilder.compressed { _ in (SCP_CHUNK_ZSTD, bytes) }
        let found = try problem(builder.bytes(), in: folder)
        #expect(found?.text.hasSuffix("chunk 4 does not unpack to 16384 bytes") == true, "\(what)")
    }

    @Test(arguments: [
        lz4(0x42, 3 * 4096), lz4(0x42, 5 * 4096), [0x1f, 0x42, 9, 0, 255, 255, 0, 0], [0xf0, 255, 255], [0],
    ])
    func whatLZ4CannotUnpackIsDamage(_ bytes: [UInt8]) throws {
        let builder = ImageBuilder.compressed { _ in (SCP_CHUNK_LZ4, bytes) }
        let found = try problem(builder.bytes(), in: folder)
        #expect(found?.text.hasSuffix("chunk 4 does not unpack to 16384 bytes") == true)
    }
}
