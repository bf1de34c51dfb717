import CSwiftCP
import Glibc
import Testing

@testable import ImageFormat

@Suite struct ImageTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test func everyTableOfAValidImageIsRead() throws {
        let builder = ImageBuilder.small()
        let image = try Image(path: folder.write(builder.bytes()))
        #expect(image.regions.count == 3)
        #expect(image.blocks.count == 5)
        #expect(image.blocksOfRegion == [0..<1, 1..<4, 4..<5])
        #expect(image.blobs.count == 2)
        #expect(image.threads.map(\.tid) == [1234, 1236, 1235])
        #expect(image.threads.map(\.text) == ["counter", "worker", "swiftcp"])
        #expect(image.process.pid == 1234)
        #expect(image.actions.count == 64)
        #expect([image.pending.count, image.timers.count, image.watches.count, image.locks.count] == [1, 1, 1, 1])
        #expect(image.descriptors.map(\.number) == [0, 1, 3, 7])
        #expect(image.objects.count == 3)
        #expect(image.auxiliaryVector == [6, 4096, 0, 0])
        #expect(image.string(image.process.executable) == "/usr/bin/counter")
        #expect(image.string(0) == "")
    }

    @Test func aValidImageIsSoundAndEveryPieceIsChecked() throws {
        let image = try Image(path: folder.write(ImageBuilder.small().bytes()))
        let result = try image.verify()
        #expect(result.findings.isEmpty)
        #expect(result.piecesChecked == 5)
        #expect(result.bytesChecked >= 6 * 4096 + 5000)
    }

    @Test func memoryIsReadAcrossBlocksAndEndsWhereNothingIsStored() throws {
        var builder = ImageBuilder.small()
        builder.regions[1].end += 0x1000
        builder.process.arguments_start = 0x601ffe
        builder.process.arguments_end = 0x602010
        let image = try Image(path: folder.write(builder.bytes()))
        let page = ImageBuilder.pattern(1, seed: 2)
        #expect(try image.memory(at: 0x601ffe, count: 100) == Array(page.suffix(2)))
        #expect(try image.memory(at: 0x603ffe, count: 4) == Array(ImageBuilder.pattern(2, seed: 3)[4094..<4098]))
        #expect(try image.memory(at: 0x600000, count: 4) == [])
        #expect(try image.memory(at: 0x607000, count: 4) == [])
        #expect(try image.arguments().count == 1)
    }

    @Test func theCountOfProgramHeadersMayStandInASectionHeader() throws {
        var builder = ImageBuilder.small()
        builder.usesXNUM = true
        let image = try Image(path: folder.write(builder.bytes()))
        #expect(image.programHeaderCount == 5)
    }

    @Test func aBlobIsAChainOverPieces() throws {
        var builder = ImageBuilder.small()
        let content = (0..<(5 << 19)).map { UInt8(truncatingIfNeeded: $0 / 3) }
        builder.addBlob(content)
        var bytes = builder.bytes()
        #expect(try problem(bytes, in: folder) == nil)
        bytes[Int(builder.blobs[2].offset) + (3 << 19)] ^= 1
        #expect(try problem(bytes, in: folder)?.text == "content 2: its checksum is wrong")
    }

    @Test func aCoreIsACopyThatIsAnImageItself() throws {
        let path = try folder.write(ImageBuilder.small().bytes())
        let output = folder.path + "/core"
        let image = try Image(path: path)
        try image.writeCore(to: output)
        #expect(try Disk.read(output, limit: 1 << 20) == Disk.read(path, limit: 1 << 20))
        #expect(throws: ImageError(.system, output, "exists already and is not overwritten; name another file")) {
            try image.writeCore(to: output)
        }
    }

    @Test func aDamagedImageLeavesNoCore() throws {
        let builder = ImageBuilder.small()
        var bytes = builder.bytes()
        bytes[5000] ^= 4
        let image = try Image(path: folder.write(bytes))
        let output = folder.path + "/core"
        #expect(throws: ImageError.self) { try image.writeCore(to: output) }
        #expect(access(output, F_OK) != 0)
    }

    @Test func aFileThatIsCutShortWhileItIsReadIsAnError() throws {
        let path = try folder.write(ImageBuilder.small().bytes())
        let image = try Image(path: path)
        #expect(truncate(path, 8192) == 0)
        #expect(throws: ImageError.self) { try image.verify() }
    }

    @Test func verificationNamesEachPieceThatIsWrong() throws {
        let builder = ImageBuilder.small()
        var bytes = builder.bytes()
        for index in [1, 2] { bytes[Int(builder.blocks[index].offset) + 9] ^= 0x80 }
        let hole = Int(builder.blocks[1].offset) + 4096 + 17
        bytes[hole] = 1
        let result = try Image(path: folder.write(bytes)).verify()
        #expect(
            result.findings.map(\.text) == [
                "memory block 1 at 0x601000 (region 1): its checksum is wrong",
                "byte \(hole) of the file belongs to nothing, but is not zero",
                "memory block 2 at 0x603000 (region 1): its checksum is wrong",
            ])
        #expect(result.findings.map(\.region) == [1, nil, 1])
    }

    @Test func filesThatAreNoImagesAreToldApart() throws {
        func kind(_ bytes: [UInt8]) throws -> ImageError.Kind? { try problem(bytes, in: folder)?.kind }
        #expect(try kind([]) == .notAnImage)
        #expect(try kind(Array("#!/bin/sh\n".utf8)) == .notAnImage)
        #expect(try kind([UInt8](repeating: 0, count: 100_000)) == .notAnImage)
        #expect(try problem(Disk.read("/proc/self/exe", limit: 1 << 30), in: folder)?.kind == .notAnImage)
        #expect(throws: ImageError(.missing, "/nonexistent", "no such file")) { try Image(path: "/nonexistent") }
        #expect(throws: ImageError.self) { try Image(path: folder.path) }
        #expect(throws: ImageError.self) { try Image(path: "/dev/zero") }
    }

    @Test func anotherFormatVersionIsNamed() throws {
        var builder = ImageBuilder.small()
        builder.header.format_version = 7
        let error = try #require(try problem(builder.bytes(), in: folder))
        #expect(error.kind == .otherVersion)
        #expect(error.exitStatus == 4)
        #expect(error.text == "an image of format version 7, this SwiftCP reads version \(SCP_FORMAT_VERSION)")
    }

    @Test func infoAndMapsTellWhatTheImageHolds() throws {
        let image = try Image(path: folder.write(ImageBuilder.small().bytes()))
        let info = try ImageInfo(image)
        #expect(info.createdAt == "2023-11-14T22:13:20Z")
        #expect(info.threads.map(\.tid) == [1234, 1236])
        #expect(info.descriptors.map(\.kind) == ["terminal", "terminal", "file", "epoll"])
        #expect(info.memory.stored == 6 * 4096)
        #expect(info.text.contains("computation  abc123, generation 3\n"))
        #expect(try Reply.done("info", info).text().contains("\"schema_version\" : 1"))
        let lines = image.maps().map(\.text)
        #expect(lines[0] == "00400000-00402000 rw-p 00000000 00:00 0                          8192  /usr/bin/counter")
    }
}
