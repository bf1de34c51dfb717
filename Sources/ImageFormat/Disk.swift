import Glibc
import SystemCalls

/// File operations with this module's error. Each opens, works and closes.
enum Disk {
    enum Kind { case regular, directory, other }

    /// What `path` is, symbolic links followed; nil when nothing is there.
    static func kind(_ path: String) throws(ImageError) -> Kind? {
        do throws(SystemError) {
            let status = try Files.status(path)
            return status.isRegular ? .regular : status.isDirectory ? .directory : .other
        } catch {
            if error.isAbsence { return nil }
            throw ImageError(path, error)
        }
    }

    static func isRegular(_ path: String) -> Bool { (try? kind(path)) == .regular }
    static func isDirectory(_ path: String) -> Bool { (try? kind(path)) == .directory }

    /// Names in a folder, sorted; nil when the folder is not there.
    static func names(in path: String) throws(ImageError) -> [String]? {
        do throws(SystemError) {
            return try Files.list(path)
        } catch {
            if error.code == ENOENT { return nil }
            throw ImageError(path, error)
        }
    }

    /// The whole content of a file of at most `limit` bytes.
    static func read(_ path: String, limit: Int) throws(ImageError) -> [UInt8] {
        do throws(SystemError) {
            // A FIFO that somebody put there must not make the reader wait.
            return try Files.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY).readToEnd(limit: limit, object: path)
        } catch {
            if error.isAbsence { throw ImageError(.missing, path, "no such file") }
            if error.code == EFBIG { throw ImageError(.damaged, path, "longer than \(limit) bytes") }
            throw ImageError(path, error)
        }
    }
}

extension SystemError {
    /// Nothing has that path.
    var isAbsence: Bool { code == ENOENT || code == ENOTDIR }
}

extension ImageError {
    /// What the system refused to do on `path`.
    init(_ path: String, _ error: SystemError) {
        self.init(.system, path, "cannot \(error.operation): \(error.reason)")
    }
}
