import CSwiftCP
import Glibc
import SystemCalls

extension Image {
    /// Writes the image as an ELF core file that gdb opens on its own: for an uncompressed, full image a copy that
    /// holds exactly what blocks, contents and metadata cover. Every checksum is compared on the way.
    ///
    /// `output` must not exist; it is created with mode 0600 and removed again when anything fails.
    /// Errors: kind `system` when the output cannot be written, else as for `verify`.
    public func writeCore(to output: String) throws(ImageError) {
        try create(output) { (file) throws(ImageError) in
            if isCompressed || !needs.isEmpty {
                try PlainImage(self, file).write()
            } else {
                try CoreCopy(image: self, file: file).run()
            }
        }
    }

    /// Writes the image anew as one that needs no other, not compressed; durable when this returns. Every checksum is
    /// compared on the way. `output` and errors as for `writeCore`.
    public func flatten(to output: String) throws(ImageError) {
        try create(output) { (file) throws(ImageError) in
            try PlainImage(self, file).write()
            guard fsync(file.descriptor) == 0 else { throw ImageError(output, .last("write")) }
        }
    }

    private func create(_ output: String, _ body: (OutputFile) throws(ImageError) -> Void) throws(ImageError) {
        let target: OwnedDescriptor
        do throws(SystemError) {
            target = try Files.open(output, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY, mode: 0o600)
        } catch {
            if error.code == EEXIST {
                throw ImageError(.system, output, "exists already and is not overwritten; name another file")
            }
            throw ImageError(output, error)
        }
        do throws(ImageError) {
            try body(OutputFile(descriptor: target.raw, path: output))
        } catch {
            unlink(output)
            throw error
        }
    }
}

/// The copy in progress.
private struct CoreCopy {
    let image: Image
    let file: OutputFile
    let scratch = Scratch()

    func run() throws(ImageError) {
        let size = image.header.metadata_offset + image.header.metadata_length
        try file.setLength(size)
        try copy(from: 0, to: UInt64(SCP_DATA_OFFSET))
        // What the image holds beside its pieces is verified to be nothing: those stay holes.
        try image.verifyOrThrow()
        for piece in image.extentOrder() {
            let (offset, length) = image.place(piece)
            try copy(from: offset, to: offset + length)
        }
        try copy(from: image.header.metadata_offset, to: size)
    }

    private func copy(from start: UInt64, to end: UInt64) throws(ImageError) {
        var position = start
        while position < end {
            let bytes = scratch.first(Int(min(end - position, UInt64(Scratch.size))))
            try image.file.read(into: bytes, at: position)
            try file.write(UnsafeRawBufferPointer(bytes), at: position)
            position += UInt64(bytes.count)
        }
    }
}

/// A file that is being written; its descriptor is borrowed.
struct OutputFile {
    let descriptor: Int32
    let path: String

    func setLength(_ bytes: UInt64) throws(ImageError) {
        guard ftruncate(descriptor, off_t(bytes)) == 0 else { throw ImageError(path, .last("make it long enough")) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw ImageError(path, SystemError(count < 0 ? errno : ENOSPC, "write")) }
            done += count
        }
    }

    func write(_ bytes: [UInt8], at offset: UInt64) throws(ImageError) {
        var failure: ImageError?
        bytes.withUnsafeBytes { buffer in
            do throws(ImageError) { try write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
