import CSwiftCP
import ImageFormat

/// Compares the checksums of blocks that no restorer reads: before anything is changed, of those that the program gets from
/// elsewhere; while it already runs, of those that were mapped from the images.
struct BlockVerifier {
    private let images: [Image]
    private let readers: [ContentReader]
    private var rest: ArraySlice<(image: Int, block: Int)>
    private let scratch = Scratch()
    /// Blocks (at most 1 MiB each) compared in one step.
    private static let perStep = 4

    /// - Parameter blocks: of each image.
    init(_ images: [Image], blocks: [[Int]]) {
        self.images = images
        readers = images.map { ContentReader($0) }
        rest = blocks.enumerated().flatMap { image, blocks in blocks.map { (image, $0) } }[...]
    }

    var isDone: Bool { rest.isEmpty }

    /// Compares some more. Throws kind `damaged` when a checksum is wrong.
    mutating func step() throws(ImageError) {
        for (number, index) in rest.prefix(Self.perStep) {
            let image = images[number]
            let block = image.blocks[index]
            let bytes = scratch.first(Int(block.stored_length))
            try readers[number].read(block, into: bytes)
            guard scp_block_checksum(bytes.baseAddress, bytes.count) == block.checksum else {
                rest = []
                let address = String(block.address, radix: 16)
                throw ImageError(.damaged, image.path, "the checksum of the memory at 0x\(address) is wrong")
            }
        }
        rest = rest.dropFirst(Self.perStep)
    }
}

private final class Scratch {
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(SCP_BLOCK_MAXIMUM), alignment: 4096)

    deinit { memory.deallocate() }

    func first(_ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }
}
