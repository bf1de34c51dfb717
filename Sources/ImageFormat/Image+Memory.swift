import CSwiftCP

extension Image {
    /// Up to `count` bytes of the program's memory from `address`, as far as blocks have them; pages without a block
    /// end it. The bytes' checksums are not compared.
    public func memory(at address: UInt64, count: Int) throws(ImageError) -> [UInt8] {
        var result: [UInt8] = []
        let reader = ContentReader(self)
        var position = address
        while result.count < count, let block = block(at: position) {
            let skip = position - block.address
            let take = min(UInt64(count - result.count), block.length - skip)
            result += try reader.bytes(at: block.offset + skip, of: block.file, count: Int(take))
            position += take
        }
        return result
    }

    /// The block with content that `address` lies in.
    func block(at address: UInt64) -> scp_block? {
        var low = 0
        var high = blocks.count
        while low < high {
            let middle = (low + high) / 2
            if blocks[middle].address + blocks[middle].length <= address { low = middle + 1 } else { high = middle }
        }
        guard low < blocks.count, blocks[low].address <= address, !blocks[low].isGuard else { return nil }
        return blocks[low]
    }

    /// The words of the command line, read from the program's own memory; empty when they cannot be found.
    public func arguments() throws(ImageError) -> [String] {
        guard process.arguments_end > process.arguments_start else { return [] }
        let length = Int(min(process.arguments_end - process.arguments_start, 1 << 20))
        let bytes = try memory(at: process.arguments_start, count: length)
        let words = bytes.split(separator: 0, omittingEmptySubsequences: false)
        return words.dropLast(bytes.last == 0 ? 1 : 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Bytes that the file holds for a region.
    public func storedBytes(ofRegion index: Int) -> UInt64 {
        blocksOfRegion[index].reduce(0) { $0 + (blocks[$1].isOwn ? blocks[$1].stored_length : 0) }
    }

    /// Bytes that earlier images hold for a region.
    public func inheritedBytes(ofRegion index: Int) -> UInt64 {
        blocksOfRegion[index].reduce(0) { $0 + (blocks[$1].isOwn ? 0 : blocks[$1].stored_length) }
    }
}
