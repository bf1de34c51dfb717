import CSwiftCP
import Glibc

/// A file descriptor with one owner. It is closed when the value goes away.
///
/// `raw` is only ever borrowed: it must not be kept longer than the value lives, nor closed by anybody else.
public struct OwnedDescriptor: ~Copyable, Sendable {
    public let raw: Int32

    /// Takes over an open descriptor that nobody else will close.
    public init(owning raw: Int32) {
        precondition(raw >= 0, "not a descriptor")
        self.raw = raw
    }

    deinit { _ = Glibc.close(raw) }

    /// Closes and reports. EINTR counts as closed, as Linux does it; it is never tried twice.
    ///
    /// *Source:* close(2), "Dealing with error returns from close()".
    public consuming func close() throws(SystemError) {
        let number = raw
        discard self
        if Glibc.close(number) != 0, errno != EINTR { throw .last("close", "descriptor \(number)") }
    }

    /// Gives the descriptor away without closing it.
    public consuming func release() -> Int32 {
        let number = raw
        discard self
        return number
    }

    /// A second descriptor of the same open file description, close-on-exec, not below `minimum`.
    public borrowing func duplicate(minimum: Int32 = 3) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try check(scp_duplicate(raw, minimum), "duplicate", "descriptor \(raw)"))
    }

    public borrowing func setCloseOnExec(_ on: Bool) throws(SystemError) {
        try check(scp_set_close_on_exec(raw, on ? 1 : 0), "set close-on-exec of", "descriptor \(raw)")
    }

    public borrowing func setNonBlocking(_ on: Bool) throws(SystemError) {
        try check(scp_set_nonblocking(raw, on ? 1 : 0), "set non-blocking of", "descriptor \(raw)")
    }

    /// flock(2), exclusive: false when somebody else holds the lock. It goes with the open file description.
    public borrowing func tryLockExclusive() -> Bool { scp_lock_exclusive(raw) == 0 }

    /// A pipe, both ends close-on-exec.
    public static func pipe() throws(SystemError) -> DescriptorPair {
        var ends: [Int32] = [-1, -1]
        try check(scp_pipe(&ends), "make", "a pipe")
        return DescriptorPair(reading: OwnedDescriptor(owning: ends[0]), writing: OwnedDescriptor(owning: ends[1]))
    }
}

/// The two ends of a pipe, or of a socket pair (then both are read and written).
@frozen
public struct DescriptorPair: ~Copyable, Sendable {
    public var reading: OwnedDescriptor
    public var writing: OwnedDescriptor
}

// Reading and writing. `object` names the descriptor in an error.
extension OwnedDescriptor {
    /// One read(2), repeated on EINTR. Returns the bytes read, 0 at the end of the file.
    /// EAGAIN of a non-blocking descriptor is thrown like any other error.
    public borrowing func readSome(
        into buffer: UnsafeMutableRawBufferPointer, object: String = ""
    ) throws(SystemError) -> Int {
        while true {
            let count = Glibc.read(raw, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            if errno != EINTR { throw .last("read", object) }
        }
    }

    /// Reads until the buffer is full or the file ends. Returns the bytes read.
    public borrowing func read(
        into buffer: UnsafeMutableRawBufferPointer, object: String = ""
    ) throws(SystemError) -> Int {
        var filled = 0
        while filled < buffer.count {
            let count = try readSome(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]), object: object)
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    /// Reads up to the end of the file, at most `limit` bytes (more is EFBIG).
    public borrowing func readToEnd(limit: Int = 64 << 20, object: String = "") throws(SystemError) -> [UInt8] {
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            var count = 0
            var failure: SystemError?
            chunk.withUnsafeMutableBytes { bytes in
                do throws(SystemError) { count = try readSome(into: bytes, object: object) } catch { failure = error }
            }
            if let failure { throw failure }
            if count == 0 { return result }
            if result.count + count > limit { throw SystemError(EFBIG, "read", object) }
            result.append(contentsOf: chunk[..<count])
        }
    }

    /// Reads at `offset` (bytes) without moving the position, until the buffer is full or the file ends.
    public borrowing func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: Int64, object: String = ""
    ) throws(SystemError) -> Int {
        var filled = 0
        while filled < buffer.count {
            let count = Glibc.pread(
                raw, buffer.baseAddress.map { $0 + filled }, buffer.count - filled, off_t(offset) + filled)
            if count == 0 { break }
            if count > 0 {
                filled += count
            } else if errno != EINTR {
                throw .last("read", object)
            }
        }
        return filled
    }

    /// Writes everything. A signal or a short write only makes it go on.
    public borrowing func write(_ buffer: UnsafeRawBufferPointer, object: String = "") throws(SystemError) {
        var done = 0
        while done < buffer.count {
            let count = Glibc.write(raw, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            if count >= 0 {
                done += count
            } else if errno != EINTR {
                throw .last("write", object)
            }
        }
    }

    public borrowing func write(_ bytes: [UInt8], object: String = "") throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(SystemError) { try write(buffer, object: object) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// fsync(2): content and metadata are on the disk when it returns.
    public borrowing func sync(object: String = "") throws(SystemError) {
        if fsync(raw) != 0 { throw .last("fsync", object) }
    }

    public borrowing func status(object: String = "") throws(SystemError) -> FileStatus {
        var out = scp_stat()
        try check(scp_fstat(raw, &out), "stat", object)
        return FileStatus(out)
    }
}
