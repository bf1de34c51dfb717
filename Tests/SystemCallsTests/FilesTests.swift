import CSwiftCP
import Glibc
import Testing

@testable import SystemCalls

/// A folder of its own that is gone afterwards.
final class Scratch {
    let path: String

    init() {
        var template = Array("/tmp/swiftcp-calls-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    }

    deinit { try? Files.removeTree(path) }
}

@Suite("Files and paths")
struct FilesTests {
    private let scratch = Scratch()

    @Test("What is written is read back, in full and from an offset")
    func readWrite() throws {
        let path = scratch.path + "/file"
        let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try Files.write(bytes, to: path)
        #expect(try Files.read(path) == bytes)
        #expect(try Files.status(path).size == 200_000)
        #expect(try Files.status(path).permissions == 0o600)
        let file = try Files.open(path, O_RDONLY)
        var part = [UInt8](repeating: 0, count: 100)
        let count = try part.withUnsafeMutableBytes { try file.read(into: $0, at: 199_950) }
        #expect(count == 50)
        #expect(part[..<50] == bytes[199_950...])
        #expect(throws: SystemError(EFBIG, "read", path)) { try Files.read(path, limit: 1000) }
    }

    @Test("An error is one sentence: what, on what, why, what to do")
    func errorText() {
        let error = SystemError(ENOENT, "open", "/x/y", hint: "create it")
        #expect(error.description == "cannot open /x/y: No such file or directory; create it")
        #expect(SystemError(EPERM, "fork").description == "cannot fork: Operation not permitted")
        #expect(throws: SystemError(ENOENT, "open", "/nonexistent/file")) {
            _ = try Files.open("/nonexistent/file", O_RDONLY)
        }
    }

    @Test("Everything is opened close-on-exec")
    func closeOnExec() throws {
        let file = try Files.open("/dev/null", O_RDONLY)
        #expect(fcntl(file.raw, F_GETFD) == FD_CLOEXEC)
        let pipe = try OwnedDescriptor.pipe()
        #expect(fcntl(pipe.reading.raw, F_GETFD) == FD_CLOEXEC)
        let copy = try file.duplicate(minimum: 50)
        #expect(copy.raw >= 50)
        #expect(fcntl(copy.raw, F_GETFD) == FD_CLOEXEC)
        try copy.setCloseOnExec(false)
        #expect(fcntl(copy.raw, F_GETFD) == 0)
    }

    @Test("A descriptor is closed when its value goes away, and not when it was released")
    func ownership() throws {
        // Numbers may be taken by other tests at once: the other end of a pipe tells.
        let dropped = try OwnedDescriptor.pipe()
        discard(dropped.writing)
        #expect(try dropped.reading.readToEnd().isEmpty)
        let released = try OwnedDescriptor.pipe()
        let reading = released.reading
        let raw = released.writing.release()
        #expect(try reading.wait(until: Instant.now) == false)
        close(raw)
        #expect(try reading.readToEnd().isEmpty)
    }

    private func discard(_ descriptor: consuming OwnedDescriptor) {}

    @Test("Folders: with parents, listed in order, removed with all they hold but not through links")
    func folders() throws {
        let deep = scratch.path + "/a/b/c"
        try Files.makeDirectories(deep)
        try Files.makeDirectories(deep)
        try Files.write([1], to: scratch.path + "/kept")
        try Files.replaceLink(deep + "/link", to: scratch.path)
        try Files.replaceLink(deep + "/link", to: scratch.path + "/kept")
        #expect(try Files.readLink(deep + "/link") == scratch.path + "/kept")
        #expect(try Files.list(scratch.path) == ["a", "kept"])
        try Files.removeTree(scratch.path + "/a")
        #expect(try Files.list(scratch.path) == ["kept"])
        try Files.removeTree(scratch.path + "/absent")
        #expect(throws: SystemError.self) { try Files.makeDirectories(scratch.path + "/kept/x") }
    }

    @Test("rename replaces, or does not, as it is told")
    func rename() throws {
        let (one, two) = (scratch.path + "/one", scratch.path + "/two")
        try Files.write([1], to: one)
        try Files.write([2], to: two)
        #expect {
            try Files.rename(one, to: two, replacing: false)
        } throws: { ($0 as? SystemError)?.code == EEXIST }
        try Files.rename(one, to: two)
        #expect(try Files.read(two) == [1])
    }

    @Test(
        "Parts of paths",
        arguments: [
            ("/a/b", "/a", "b"), ("/a", "/", "a"), ("a", ".", "a"), ("/", "/", "/"), ("/a/b//", "/a", "b"),
            ("a/b", "a", "b"), ("/a//b", "/a", "b"),
        ])
    func paths(path: String, parent: String, name: String) {
        #expect(Path.parent(path) == parent)
        #expect(Path.name(path) == name)
    }
}
