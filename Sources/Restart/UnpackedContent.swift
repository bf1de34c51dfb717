import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import Options
import SystemCalls

/// The content of the compressed images of a set, and of those that they need, unpacked into memory that the restorers read
/// as they read an image.
struct UnpackedContent {
    /// By image of the set; each: itself, then those that it needs. Nil: it is not compressed.
    private let files: [[OpenFile?]]

    /// Unpacks all of them, one after the other, each with all processors. A checksum that is wrong throws.
    init(_ set: RestartSet) throws(RestartError) {
        var files: [[OpenFile?]] = []
        for (index, image) in set.images.enumerated() {
            var parts = [try Self.unpack(image, image.chunks, set.messageName(index))]
            for (number, ancestor) in image.ancestors.enumerated() {
                let chunks = Self.chunks(of: ancestor, for: image, file: UInt32(number + 1))
                parts.append(try Self.unpack(ancestor, chunks, ancestor.path))
            }
            files.append(parts)
        }
        self.files = files
    }

    /// Those that hold anything of the image.
    private static func chunks(of ancestor: Image, for image: Image, file: UInt32) -> [scp_chunk] {
        guard ancestor.isCompressed else { return [] }
        let used = image.blocks.filter { $0.file == file }.sorted { $0.offset < $1.offset }
        var next = 0
        return ancestor.chunks.filter { chunk in
            while next < used.count, used[next].offset + used[next].stored_length <= chunk.place { next += 1 }
            return next < used.count && used[next].offset < chunk.place + chunk.length
        }
    }

    private static func unpack(
        _ image: Image, _ chunks: [scp_chunk], _ name: String
    ) throws(RestartError) -> OpenFile? {
        guard !chunks.isEmpty else { return nil }
        var message = crestart_message()
        let file = crestart_unpack(image.file.descriptor, chunks, chunks.count, &message)
        guard file >= 0 else {
            let text = "\(name): \(message.string)"
            throw file == -EBADMSG ? RestartError(text, status: ExitStatus.badImage) : RestartError(text)
        }
        return OpenFile(OwnedDescriptor(owning: file))
    }

    /// What the restorer of that image reads memory from; borrowed.
    func descriptor(_ index: Int, of image: Image) -> Int32 { files[index][0]?.raw ?? image.file.descriptor }

    /// The same for those that it needs.
    func ancestors(_ index: Int, of image: Image) -> [Int32] {
        zip(image.ancestors, files[index].dropFirst()).map { $1?.raw ?? $0.file.descriptor }
    }
}
