import CSwiftCP
import Glibc

/// One thing that `Image.verify` found wrong.
public struct Finding: Equatable, Sendable {
    /// Which piece and what about it: "memory block 3 at 0x7f… (region 12): its checksum is wrong".
    public let text: String
    /// Number of the region the memory belongs to; nil for what is no memory.
    public let region: Int?
}

/// What a verification has read and found.
public struct Verification: Equatable, Sendable {
    /// In the order of the file, at most `limit` of them.
    public internal(set) var findings: [Finding] = []
    /// Blocks and contents whose checksum was compared.
    public internal(set) var piecesChecked = 0
    /// Bytes that were read for it.
    public internal(set) var bytesChecked: UInt64 = 0
    /// There is more wrong than `findings` says.
    public internal(set) var isCutShort = false

    public var isSound: Bool { findings.isEmpty }
}

extension Image {
    /// Reads the whole file, and of earlier images what it needs, and compares every checksum; every byte that belongs to nothing must be zero. So one bit
    /// changed anywhere is found (that of the first page and of the metadata when the image was opened).
    ///
    /// Stops after `limit` findings. Throws when the file cannot be read, or ends early.
    ///
    /// Cost: one pass at the speed of memory or of the disk; 1 MiB of memory; holes are skipped.
    public func verify(limit: Int = 16) throws(ImageError) -> Verification {
        var result = Verification()
        let scratch = Scratch()
        var position = UInt64(SCP_DATA_OFFSET)
        for piece in extentOrder() {
            let (offset, length) = place(piece)
            try checkGap(position..<offset, scratch, &result)
            let sum = try checksum(piece, scratch)
            result.piecesChecked += 1
            result.bytesChecked += length
            if sum != expectedChecksum(piece) { result.add(finding(piece, "its checksum is wrong")) }
            position = offset + length
            if result.findings.count >= limit {
                result.isCutShort = true
                return result
            }
        }
        try checkGap(position..<header.metadata_offset, scratch, &result)
        if isCompressed { try verifyBlocks(contentOrder(), scratch, limit, &result) }
        try verifyBlocks(inheritedOrder(), scratch, limit, &result)
        return result
    }

    /// Reads blocks wherever they are, in chunks or earlier images, and compares their checksums.
    private func verifyBlocks(
        _ order: [Int], _ scratch: Scratch, _ limit: Int, _ result: inout Verification
    ) throws(ImageError) {
        let reader = ContentReader(self)
        for index in order where result.findings.count < limit {
            let bytes = scratch.first(Int(blocks[index].stored_length))
            result.piecesChecked += 1
            if !blocks[index].isOwn { result.bytesChecked += blocks[index].stored_length }
            do throws(ImageError) {
                try reader.read(blocks[index], into: bytes)
                guard scp_block_checksum(bytes.baseAddress, bytes.count) != blocks[index].checksum else { continue }
                result.add(finding(.block(index), "its checksum is wrong"))
            } catch {
                guard error.kind == .damaged else { throw error }
                result.add(finding(.block(index), error.text))
            }
        }
        result.isCutShort = result.isCutShort || result.findings.count >= limit
    }

    /// Throws unless the whole image is sound; the error names the first piece that is not.
    public func verifyOrThrow() throws(ImageError) {
        guard let finding = try verify(limit: 1).findings.first else { return }
        throw damaged(finding.text)
    }

    private func expectedChecksum(_ piece: Piece) -> UInt64 {
        switch piece {
        case .block(let index): blocks[index].checksum
        case .chunk(let index): chunks[index].checksum
        case .blob(let index): blobs[index].checksum
        }
    }

    private func finding(_ piece: Piece, _ what: String) -> Finding {
        switch piece {
        case .block(let index):
            Finding(text: "\(name(piece)): \(what)", region: regionIndex(ofBlock: index))
        case .chunk, .blob: Finding(text: "\(name(piece)): \(what)", region: nil)
        }
    }

    /// The checksum of what the file holds. Of a blob: a chain over pieces of `SCP_BLOCK_MAXIMUM` bytes, each seeded by
    /// the one before.
    func checksum(_ piece: Piece, _ scratch: Scratch) throws(ImageError) -> UInt64 {
        let (offset, length) = place(piece)
        if case .block = piece {
            let bytes = scratch.first(Int(length))
            try file.read(into: bytes, at: offset)
            return scp_block_checksum(bytes.baseAddress, bytes.count)
        }
        // A chunk is not longer than one piece.
        var sum: UInt64 = 0
        var done: UInt64 = 0
        while done < length {
            let bytes = scratch.first(Int(min(length - done, UInt64(Scratch.size))))
            try file.read(into: bytes, at: offset + done)
            sum = xxh3(UnsafeRawBufferPointer(bytes), seed: sum)
            done += UInt64(bytes.count)
        }
        return sum
    }

    /// Every byte of the range, which may be empty, must be zero.
    private func checkGap(
        _ range: Range<UInt64>, _ scratch: Scratch, _ result: inout Verification
    ) throws(ImageError) {
        guard !range.isEmpty else { return }
        var wrong: UInt64?
        var read: UInt64 = 0
        try file.scanData(in: range) { (data) throws(ImageError) in
            var position = data.lowerBound
            while position < data.upperBound, wrong == nil {
                let bytes = scratch.first(Int(min(data.upperBound - position, UInt64(Scratch.size))))
                try file.read(into: bytes, at: position)
                if let index = firstNonZero(UnsafeRawBufferPointer(bytes)) { wrong = position + UInt64(index) }
                position += UInt64(bytes.count)
                read += UInt64(bytes.count)
            }
        }
        result.bytesChecked += read
        if let wrong {
            result.add(Finding(text: "byte \(wrong) of the file belongs to nothing, but is not zero", region: nil))
        }
    }
}

extension Verification {
    fileprivate mutating func add(_ finding: Finding) { findings.append(finding) }
}

/// One block's worth of memory, given back at the end. Used by one thread.
final class Scratch {
    static let size = Int(SCP_BLOCK_MAXIMUM)
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)

    deinit { memory.deallocate() }

    /// Its first `count` bytes.
    func first(_ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }
}

/// Index of the first byte that is not zero; nil when all are.
func firstNonZero(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard let base = bytes.baseAddress, let first = bytes.first else { return nil }
    if first != 0 { return 0 }
    // All equal the one before, and the first is zero.
    if memcmp(base, base + 1, bytes.count - 1) == 0 { return nil }
    return bytes.firstIndex { $0 != 0 }
}
