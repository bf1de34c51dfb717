import Glibc
import Testing

@testable import ImageFormat

/// A folder of its own for one test, removed with all its files at the end.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/swiftcp-image-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer -> String? in
            guard let base = buffer.baseAddress, mkdtemp(base) != nil else { return nil }
            return String(cString: base)
        }
        path = try #require(made)
    }

    deinit { remove(path) }

    private func remove(_ path: String) {
        if Disk.isDirectory(path) {
            for name in (try? Disk.names(in: path)) ?? [] { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    /// Writes a file, folders above it included, and returns its path.
    @discardableResult
    func write(_ bytes: [UInt8], _ name: String = "a_1.swiftcp") throws -> String {
        var folder = path
        for part in name.split(separator: "/").dropLast() {
            folder += "/" + part
            mkdir(folder, 0o700)
        }
        let file = path + "/" + name
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        try #require(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
        return file
    }
}

/// Runs the reader and the verification over bytes; nil when all is well.
func problem(
    _ bytes: [UInt8], in folder: TemporaryFolder, as name: String = "a_1.swiftcp"
) throws -> ImageError? {
    let path = try folder.write(bytes, name)
    do throws(ImageError) {
        let image = try Image(path: path)
        try image.verifyOrThrow()
        _ = try ImageInfo(image)
        _ = image.maps()
        return nil
    } catch {
        return error
    }
}
