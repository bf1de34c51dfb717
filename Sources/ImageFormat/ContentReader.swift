import CCodec
import CSwiftCP

/// Reads what blocks refer to, in the image and in those that it needs.
///
/// Used by one thread; memory: twice `SCP_BLOCK_MAXIMUM` for each of them that is compressed.
public final class ContentReader {
    private let files: [ContentFile]
    private var readers: [ChunkReader?]

    public init(_ image: Image) {
        files = [ContentFile(image)] + image.ancestors
        readers = Array(repeating: nil, count: files.count)
    }

    /// Fills the whole buffer with the bytes that stand at `place` (bytes, as `scp_block.offset` counts) of the file
    /// that `scp_block.file` means.
    ///
    /// Errors: kind `damaged` when no chunk has them, or one does not unpack; `missing` when that file is not open.
    public func read(
        into buffer: UnsafeMutableRawBufferPointer, at place: UInt64, of file: UInt32
    ) throws(ImageError) {
        guard file < files.count else {
            throw ImageError(.missing, files[0].path, "a file that it needs is not open")
        }
        let index = Int(file)
        guard files[index].isCompressed else { return try files[index].file.read(into: buffer, at: place) }
        let reader = readers[index] ?? ChunkReader(files[index])
        readers[index] = reader
        try reader.read(into: buffer, at: place)
    }

    /// The bytes of a block that has some. Its checksum is not compared.
    public func read(_ block: scp_block, into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) {
        try read(into: buffer, at: block.offset, of: block.file)
    }

    /// `count` bytes from `place`.
    func bytes(at place: UInt64, of file: UInt32, count: Int) throws(ImageError) -> [UInt8] {
        var failure: ImageError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(ImageError) {
                try read(into: UnsafeMutableRawBufferPointer(buffer), at: place, of: file)
                filled = count
            } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }
}

/// Reads the content of one compressed image from its chunks, which are unpacked on the way, one at a time. The chunk that
/// was unpacked last is kept, so that reading in ascending order unpacks each once.
private final class ChunkReader {
    private let source: ContentFile
    private let codec: OpaquePointer?
    private let stored = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(SCP_BLOCK_MAXIMUM), alignment: 4096)
    private let content = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(SCP_BLOCK_MAXIMUM), alignment: 4096)
    /// Number of the chunk in `content`, -1 = none.
    private var unpacked = -1

    init(_ source: ContentFile) {
        self.source = source
        codec = OpaquePointer(ccodec_open())
    }

    deinit {
        if let codec { ccodec_close(UnsafeMutableRawPointer(codec)) }
        stored.deallocate()
        content.deallocate()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at place: UInt64) throws(ImageError) {
        var done = 0
        while done < buffer.count {
            let position = place + UInt64(done)
            let number = source.chunkNumber(at: position)
            guard number < source.chunks.count, source.chunks[number].place <= position else {
                throw source.damaged("no chunk has the bytes at \(position)")
            }
            try unpack(number)
            let skip = Int(position - source.chunks[number].place)
            let count = min(buffer.count - done, Int(source.chunks[number].length) - skip)
            UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: content[skip..<skip + count]))
            done += count
        }
    }

    private func unpack(_ number: Int) throws(ImageError) {
        guard number != unpacked else { return }
        unpacked = -1
        let chunk = source.chunks[number]
        let bytes = UnsafeMutableRawBufferPointer(rebasing: stored[..<Int(chunk.stored_length)])
        try source.file.read(into: bytes, at: chunk.offset)
        guard scp_xxh3(bytes.baseAddress, bytes.count, 0) == chunk.checksum else {
            throw source.damaged("chunk \(number): its checksum is wrong")
        }
        let result = ccodec_unpack(
            codec.map { UnsafeMutableRawPointer($0) }, chunk.encoding, bytes.baseAddress, bytes.count,
            content.baseAddress, Int(chunk.length))
        guard result == 0 else {
            throw source.damaged("chunk \(number) does not unpack to \(chunk.length) bytes")
        }
        unpacked = number
    }
}

extension Image {
    /// Blocks stand in chunks.
    public var isCompressed: Bool { !chunks.isEmpty }

    /// What a chunk must satisfy, and that chunks ascend without sharing a byte.
    func checkChunks() throws(ImageError) {
        var end = UInt64(SCP_DATA_OFFSET)
        for (index, chunk) in chunks.enumerated() {
            let isRaw = chunk.encoding == SCP_CHUNK_RAW.rawValue
            guard chunk.place % UInt64(SCP_DATA_OFFSET) == 0, chunk.place >= end, chunk.place < 1 << 56,
                chunk.length > 0, chunk.length % UInt64(SCP_DATA_OFFSET) == 0,
                chunk.length <= UInt64(SCP_BLOCK_MAXIMUM), chunk.encoding <= SCP_CHUNK_ZSTD.rawValue,
                chunk.stored_length > 0, chunk.reserved == 0,
                isRaw ? chunk.stored_length == chunk.length : chunk.stored_length < chunk.length
            else { throw damaged("chunk \(index) is impossible") }
            end = chunk.place + chunk.length
        }
    }

    /// All that blocks refer to is in chunks, and no two of them refer to the same.
    func checkContent() throws(ImageError) {
        var end = UInt64(SCP_DATA_OFFSET)
        let content = ContentFile(self)
        for index in contentOrder() {
            let block = blocks[index]
            guard block.offset % UInt64(SCP_DATA_OFFSET) == 0, block.offset >= end, block.offset < 1 << 56 else {
                throw damaged("\(name(.block(index))) shares its content with another")
            }
            end = block.offset + block.stored_length
            guard content.isCovered(block.offset..<end) else {
                throw damaged("\(name(.block(index))) is in no chunk")
            }
        }
    }

    /// The numbers of all blocks with content in the image itself, ascending by where that stands.
    func contentOrder() -> [Int] {
        blocks.indices.filter { blocks[$0].isOwn }.sorted { blocks[$0].offset < blocks[$1].offset }
    }
}
