import CSwiftCP
import Formats

/// A file that holds bytes of blocks: an image, or the pages of mapped files of a generation.
public struct ContentFile: Sendable {
    public let file: ImageFile
    /// Bytes: all that blocks may lead to stands before it. In a compressed image blocks lead into chunks.
    public let end: UInt64
    /// Ascending by place, not overlapping; empty: not compressed.
    public let chunks: [scp_chunk]
    /// Says which file it is: an image's checksum of its metadata, the random number of file pages.
    public let identity: UInt64
    /// Pages of mapped files, and no image.
    public let isFilePages: Bool

    public var path: String { file.path }
    public var isCompressed: Bool { !chunks.isEmpty }

    /// Of the image itself.
    public init(_ image: Image) {
        file = image.file
        end = image.header.metadata_offset
        chunks = image.chunks
        identity = image.header.metadata_checksum
        isFilePages = false
    }

    /// Opens the file pages of a generation and checks their header.
    init(filePages path: String) throws(ImageError) {
        file = try ImageFile(path: path)
        let size = MemoryLayout<scp_file_pages_header>.size
        guard file.size >= UInt64(SCP_DATA_OFFSET) else {
            throw ImageError(.damaged, path, "the file ends at byte \(file.size), it was cut short")
        }
        let header = try file.bytes(at: 0, count: size).withUnsafeBytes {
            $0.loadUnaligned(as: scp_file_pages_header.self)
        }
        guard header.magic == SCP_FILE_PAGES_MAGIC else {
            throw ImageError(.notAnImage, path, "these are not the file pages of a generation")
        }
        guard header.format_version == SCP_FORMAT_VERSION else {
            throw ImageError(
                .damaged, path, "file pages of format \(header.format_version), not \(SCP_FORMAT_VERSION)")
        }
        (end, chunks, identity, isFilePages) = (file.size, [], header.identity, true)
    }

    /// Whether all of the range, as blocks count, is there.
    func holds(_ range: Range<UInt64>) -> Bool { isCompressed ? isCovered(range) : range.upperBound <= end }

    // MARK: - Chunks

    /// The first chunk that ends behind `place`; the count of chunks when none does.
    func chunkNumber(at place: UInt64) -> Int {
        var low = 0
        var high = chunks.count
        while low < high {
            let middle = (low + high) / 2
            if chunks[middle].place + chunks[middle].length <= place { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func isCovered(_ range: Range<UInt64>) -> Bool {
        var position = range.lowerBound
        var number = chunkNumber(at: position)
        while position < range.upperBound {
            guard number < chunks.count, chunks[number].place <= position else { return false }
            position = chunks[number].place + chunks[number].length
            number += 1
        }
        return true
    }

    func damaged(_ what: String) -> ImageError { ImageError(.damaged, path, what) }
}

/// File pages that many images of a generation need, opened once for all of them. For one thread.
public final class OpenedFilePages {
    private var files: [String: ContentFile] = [:]

    public init() {}

    func open(_ path: String) throws(ImageError) -> ContentFile {
        if let known = files[path] { return known }
        let file = try ContentFile(filePages: path)
        files[path] = file
        return file
    }
}
