import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import Options
import SystemCalls

/// The content of the compressed images of a set, unpacked into memory that the restorers read as they read an image.
struct UnpackedContent {
    /// By image; nil: it is not compressed.
    private let files: [OpenFile?]

    /// Unpacks all of them, one after the other, each with all processors. A checksum that is wrong throws.
    init(_ set: RestartSet) throws(RestartError) {
        var files: [OpenFile?] = []
        for (index, image) in set.images.enumerated() { files.append(try Self.unpack(image, set.messageName(index))) }
        self.files = files
    }

    private static func unpack(_ image: Image, _ name: String) throws(RestartError) -> OpenFile? {
        guard image.isCompressed else { return nil }
        var message = crestart_message()
        let file = crestart_unpack(image.file.descriptor, image.chunks, image.chunks.count, &message)
        guard file >= 0 else {
            let text = "\(name): \(message.string)"
            throw file == -EBADMSG ? RestartError(text, status: ExitStatus.badImage) : RestartError(text)
        }
        return OpenFile(OwnedDescriptor(owning: file))
    }

    /// What the restorer of that image reads memory from; borrowed.
    func descriptor(_ index: Int, of image: Image) -> Int32 { files[index]?.raw ?? image.file.descriptor }
}
