import Glibc
import SystemCalls

/// An image's file, open for reading. It is read with `pread` alone: a mapped file that somebody cuts short would end
/// the reader by SIGBUS, a short `pread` is an error with a sentence.
///
/// Closes its descriptor when the last reference goes. Safe to use from several threads, `scanData` apart.
public final class ImageFile: Sendable {
    private let handle: OwnedDescriptor
    /// As the user named it; for messages.
    public let path: String
    /// Bytes, when it was opened.
    public let size: UInt64

    /// Borrowed by whoever hands the image on (the restorer reads memory from it); stays owned by this object.
    public var descriptor: Int32 { handle.raw }

    /// Opens a regular file. Fails with kind `missing`, `notAnImage` (a folder, a device) or `system`.
    public init(path: String) throws(ImageError) {
        let status: FileStatus
        do throws(SystemError) {
            handle = try Files.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
            status = try handle.status(object: path)
        } catch {
            if error.isAbsence { throw ImageError(.missing, path, "no such file") }
            throw ImageError(path, error)
        }
        guard status.isRegular, status.size >= 0 else {
            throw ImageError(.notAnImage, path, "not a checkpoint image (not even a regular file)")
        }
        self.path = path
        size = UInt64(status.size)
    }

    /// Fills the whole buffer from `offset` (bytes). A file that ends before is damaged.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ImageError) {
        let count: Int
        do throws(SystemError) {
            count = try handle.read(into: buffer, at: Int64(offset), object: path)
        } catch {
            throw ImageError(.system, path, "cannot read at byte \(offset): \(error.reason)")
        }
        guard count == buffer.count else {
            throw ImageError(.damaged, path, "the file ends at byte \(offset + UInt64(count)), it was cut short")
        }
    }

    /// `count` bytes from `offset`. The caller has compared both with the file's size.
    public func bytes(at offset: UInt64, count: Int) throws(ImageError) -> [UInt8] {
        var failure: ImageError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(ImageError) {
                try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
                filled = count
            } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Calls `body` with each stretch of the range that the file system does not know to be a hole.
    ///
    /// *Source:* lseek(2), SEEK_DATA and SEEK_HOLE; a file system without them answers that everything is data.
    /// Moves the file position, which nothing else here uses.
    func scanData(in range: Range<UInt64>, _ body: (Range<UInt64>) throws(ImageError) -> Void) throws(ImageError) {
        var position = range.lowerBound
        while position < range.upperBound {
            let start = lseek(descriptor, off_t(position), seekData)
            if start < 0, errno == ENXIO { return }
            guard start >= 0 else { return try body(position..<range.upperBound) }
            let from = max(UInt64(start), position)
            guard from < range.upperBound else { return }
            let hole = lseek(descriptor, off_t(from), seekHole)
            let to = hole > off_t(from) ? min(UInt64(hole), range.upperBound) : range.upperBound
            try body(from..<to)
            position = to
        }
    }
}

/// lseek(2)'s SEEK_DATA and SEEK_HOLE, which the Glibc module lacks.
private let seekData: Int32 = 3
private let seekHole: Int32 = 4
