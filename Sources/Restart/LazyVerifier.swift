import CSwiftCP
import ImageFormat

/// Compares the checksums of memory that was mapped from the images, while the program already runs.
struct LazyVerifier {
    private let images: [Image]
    private var rest: ArraySlice<(image: Int, block: Int)>
    private let scratch = Scratch()
    /// Blocks (at most 1 MiB each) compared in one step.
    private static let perStep = 4

    /// - Parameter blocks: of each image.
    init(_ images: [Image], blocks: [[Int]]) {
        self.images = images
        rest = blocks.enumerated().flatMap { image, blocks in blocks.map { (image, $0) } }[...]
    }

    var isDone: Bool { rest.isEmpty }

    /// Compares some more. Returns what is wrong; nil = nothing so far.
    mutating func step() throws(ImageError) -> String? {
        for (number, index) in rest.prefix(Self.perStep) {
            let image = images[number]
            let block = image.blocks[index]
            let bytes = scratch.first(Int(block.stored_length))
            try image.holder(of: block).file.read(into: bytes, at: block.offset)
            guard scp_block_checksum(bytes.baseAddress, bytes.count) == block.checksum else {
                rest = []
                let address = String(block.address, radix: 16)
                return "the image is damaged: wrong checksum of the memory at 0x\(address); the program was ended"
            }
        }
        rest = rest.dropFirst(Self.perStep)
        return nil
    }
}

private final class Scratch {
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(SCP_BLOCK_MAXIMUM), alignment: 4096)

    deinit { memory.deallocate() }

    func first(_ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }
}
