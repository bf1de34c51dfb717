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

    /// What is to be unpacked: the chunks of images.
    struct Plan {
        fileprivate struct Part {
            let file: ContentFile
            let chunks: [scp_chunk]
            /// For messages.
            let name: String
        }
        /// As `files`.
        fileprivate let parts: [[Part]]

        init(_ set: RestartSet) {
            parts = set.images.enumerated().map { index, image in
                let own = Part(file: ContentFile(image), chunks: image.chunks, name: set.messageName(index))
                return [own]
                    + image.ancestors.enumerated().map { number, ancestor in
                        let chunks = chunks(of: ancestor, for: image, file: UInt32(number + 1))
                        return Part(file: ancestor, chunks: chunks, name: ancestor.path)
                    }
            }
        }

        /// Bytes, when they are unpacked.
        var length: UInt64 { parts.joined().reduce(0) { $1.chunks.reduce($0) { $0 + UInt64($1.length) } } }
    }

    /// Unpacks all of them, one after the other, each with all processors. A checksum that is wrong throws.
    init(_ plan: Plan, _ progress: RestartProgress) throws(RestartError) {
        var files: [[OpenFile?]] = []
        for parts in plan.parts {
            var unpacked: [OpenFile?] = []
            for part in parts { unpacked.append(try Self.unpack(part, progress)) }
            files.append(unpacked)
        }
        self.files = files
    }

    private static func unpack(_ part: Plan.Part, _ progress: RestartProgress) throws(RestartError) -> OpenFile? {
        guard !part.chunks.isEmpty else { return nil }
        var message = crestart_message()
        let file = progress.onlooking {
            crestart_unpack(part.file.file.descriptor, part.chunks, part.chunks.count, $0, &message)
        }
        guard file >= 0 else {
            let text = "\(part.name): \(message.string)"
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

/// Those that hold anything of the image.
private func chunks(of ancestor: ContentFile, for image: Image, file: UInt32) -> [scp_chunk] {
    guard ancestor.isCompressed else { return [] }
    let used = image.blocks.filter { $0.file == file }.sorted { $0.offset < $1.offset }
    var next = 0
    return ancestor.chunks.filter { chunk in
        while next < used.count, used[next].offset + used[next].stored_length <= chunk.place { next += 1 }
        return next < used.count && used[next].offset < chunk.place + chunk.length
    }
}
