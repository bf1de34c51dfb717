import CSwiftCP
import Glibc
import Testing

@testable import Restart

/// Tables of one image, written down in few words.
private struct Sketch {
    var tables = ImageTables()

    init(_ name: String) { tables.name = name }

    @discardableResult
    mutating func object(
        _ kind: scp_object_kind, identity: UInt64 = 0, inode: UInt64 = 0, access: Int32 = O_RDONLY,
        flags: [scp_object_flag] = [], path: String = "", content: Bool = false
    ) -> UInt32 {
        var object = scp_object()
        (object.kind, object.identity, object.inode) = (kind.rawValue, identity, inode)
        object.status = UInt32(access)
        object.mode = kind == SCP_OBJECT_PIPE ? 0o010_600 : 0
        object.flags = flags.reduce(0) { $0 | $1.rawValue } | (content ? SCP_OBJECT_HAS_CONTENT.rawValue : 0)
        object.path = path.isEmpty ? 0 : string(path)
        object.blob = content ? UInt32(tables.blobs.count) : SCP_NO_BLOB
        if content { tables.blobs.append(scp_blob(offset: 4096, length: 10, checksum: 0, reserved: 0)) }
        tables.objects.append(object)
        return UInt32(tables.objects.count - 1)
    }

    mutating func socket(domain: UInt64, id: UInt64, peer: UInt64 = 0, own: String = "", other: String = "") {
        let index = Int(object(SCP_OBJECT_SOCKET_PAIR, flags: [SCP_OBJECT_ELSEWHERE]))
        (tables.objects[index].mode, tables.objects[index].inode) = (0o140_600, id)
        (tables.objects[index].value.0, tables.objects[index].value.1) = (domain, 1)
        tables.objects[index].value.3 = UInt64(SCP_SOCKET_CONNECTED.rawValue)
        (tables.objects[index].value.6, tables.objects[index].value.7) = (id, peer)
        tables.objects[index].socket = string("n=\(own) p=\(other) o=1.2=01000000")
    }

    mutating func number(_ number: Int32, _ object: UInt32) {
        tables.descriptors.append(scp_descriptor(number: number, object: object, close_on_exec: 0, reserved: 0))
    }

    private mutating func string(_ text: String) -> UInt32 {
        tables.strings += Array(text.utf8) + [0]
        return UInt32(tables.strings.count - text.utf8.count - 1)
    }
}

private func merged(_ sketches: Sketch...) throws -> MergedTables { try MergedTables(sketches.map(\.tables)) }

private func text(_ tables: MergedTables, _ offset: UInt32) -> String {
    String(decoding: tables.strings[Int(offset)...].prefix { $0 != 0 }, as: UTF8.self)
}

@Suite("The tables of a set")
struct MergedTablesTests {
    @Test("One description in two images becomes one, from the image that has it complete")
    func shared() throws {
        var first = Sketch("first")
        let borrowed = first.object(SCP_OBJECT_FILE, identity: 7, flags: [SCP_OBJECT_BORROWED], path: "/no")
        first.number(3, borrowed)
        var second = Sketch("second")
        second.object(SCP_OBJECT_DEVICE)
        let whole = second.object(SCP_OBJECT_FILE, identity: 7, path: "/yes")
        second.number(3, whole)
        second.number(4, whole)
        let tables = try merged(first, second)
        #expect(tables.objects.count == 2 && tables.objectMembers == [1, 1])
        #expect(tables.translations == [[1], [0, 1]])
        #expect(tables.descriptors.map(\.object) == [1, 1, 1] && tables.memberRanges == [0..<1, 1..<3])
        #expect(text(tables, tables.objects[1].path) == "/yes")
    }

    @Test("Private objects of two images stay two, their names and contents their own")
    func separate() throws {
        var first = Sketch("first")
        first.object(SCP_OBJECT_FILE, path: "/a", content: true)
        var second = Sketch("second")
        second.object(SCP_OBJECT_FILE, path: "/b", content: true)
        let tables = try merged(first, second)
        #expect(tables.objects.map { text(tables, $0.path) } == ["/a", "/b"])
        #expect(tables.objects.map(\.blob) == [0, 1] && tables.blobMembers == [0, 1])
    }

    @Test("What nobody has complete is refused by name")
    func incomplete() throws {
        var sketch = Sketch("only.swiftcp")
        sketch.object(SCP_OBJECT_FILE, identity: 7, flags: [SCP_OBJECT_BORROWED])
        sketch.number(5, 0)
        let error = try #require(throws: RestartError.self) { _ = try merged(sketch) }
        #expect(error.status == 4 && error.message.contains("only.swiftcp"))
        #expect(error.message.contains("descriptor 5") && error.message.contains("whole generation"))
    }

    @Test("What stands in a queue and is open in another process is that process's")
    func held() throws {
        var receiver = Sketch("receiver")
        receiver.tables.pid = 20
        let held = receiver.object(
            SCP_OBJECT_FILE, flags: [SCP_OBJECT_IN_FLIGHT, SCP_OBJECT_BORROWED, SCP_OBJECT_HELD])
        receiver.tables.objects[Int(held)].value.0 = 10
        receiver.tables.objects[Int(held)].value.1 = 5
        var sender = Sketch("sender")
        sender.tables.pid = 10
        sender.object(SCP_OBJECT_DEVICE)
        sender.number(5, sender.object(SCP_OBJECT_FILE, path: "/sent"))
        let tables = try merged(receiver, sender)
        #expect(tables.objects.count == 2 && tables.translations == [[1], [0, 1]])
        sender.tables.descriptors = []
        let error = try #require(throws: RestartError.self) { _ = try merged(receiver, sender) }
        #expect(error.status == 4 && error.message.contains("descriptor 5 of process 10"))
    }

    @Test("The ends of a pipe meet: inside, and the content is with the first end, once")
    func pipe() throws {
        var reader = Sketch("reader")
        reader.object(SCP_OBJECT_PIPE, inode: 9, access: O_RDONLY, flags: [SCP_OBJECT_ELSEWHERE])
        var writer = Sketch("writer")
        writer.object(SCP_OBJECT_PIPE, inode: 9, access: O_WRONLY, flags: [SCP_OBJECT_ELSEWHERE], content: true)
        let tables = try merged(reader, writer)
        #expect(tables.objects.allSatisfy { $0.kind == SCP_OBJECT_PIPE.rawValue })
        #expect(tables.objects[0].flags & SCP_OBJECT_HAS_CONTENT.rawValue != 0 && tables.objects[0].blob == 0)
        #expect(tables.objects.allSatisfy { $0.flags & SCP_OBJECT_ELSEWHERE.rawValue == 0 })
    }

    @Test("An end whose other end no image has leads outside; one whose other end is gone does not")
    func outside() throws {
        var sketch = Sketch("one")
        sketch.object(SCP_OBJECT_PIPE, inode: 9, access: O_WRONLY, flags: [SCP_OBJECT_ELSEWHERE])
        sketch.object(SCP_OBJECT_PIPE, inode: 10, access: O_WRONLY)
        sketch.object(
            SCP_OBJECT_FIFO, inode: 11, access: O_RDONLY, flags: [SCP_OBJECT_ELSEWHERE, SCP_OBJECT_NEVER_WRITER],
            path: "/f")
        sketch.socket(domain: 1, id: 20, peer: 99)
        let tables = try merged(sketch)
        let wanted = [SCP_OBJECT_OUTSIDE, SCP_OBJECT_PIPE, SCP_OBJECT_FIFO, SCP_OBJECT_OUTSIDE]
        #expect(tables.objects.map(\.kind) == wanted.map(\.rawValue))
    }

    @Test("A FIFO that one image opened for reading and another for writing has met a writer")
    func fifo() throws {
        var reader = Sketch("reader")
        reader.object(
            SCP_OBJECT_FIFO, inode: 11, access: O_RDONLY, flags: [SCP_OBJECT_ELSEWHERE, SCP_OBJECT_NEVER_WRITER],
            path: "/f")
        var writer = Sketch("writer")
        writer.object(SCP_OBJECT_FIFO, inode: 11, access: O_WRONLY, flags: [SCP_OBJECT_ELSEWHERE], path: "/f")
        let tables = try merged(reader, writer)
        #expect(tables.objects.allSatisfy { $0.flags == 0 && $0.kind == SCP_OBJECT_FIFO.rawValue })
    }

    @Test("Unix sockets meet by inode, TCP sockets by address")
    func sockets() throws {
        var first = Sketch("first")
        first.socket(domain: 1, id: 20, peer: 21)
        first.socket(domain: 2, id: 30, own: "0a", other: "0b")
        var second = Sketch("second")
        second.socket(domain: 1, id: 21, peer: 20)
        second.socket(domain: 2, id: 31, own: "0b", other: "0a")
        let tables = try merged(first, second)
        #expect(tables.objects.allSatisfy { $0.kind == SCP_OBJECT_SOCKET_PAIR.rawValue && $0.flags == 0 })
        #expect(tables.objects.map(\.value.7) == [21, 31, 20, 30])
    }

    @Test("A socket in a queue is the one that another image has at a number; one in two queues is one, too")
    func inFlight() throws {
        var first = Sketch("first")
        first.socket(domain: 1, id: 11, peer: 12)
        first.tables.objects[0].identity = 5
        first.number(3, 0)
        var second = Sketch("second")
        for (index, inode) in [UInt64(11), 13].enumerated() {
            second.socket(domain: 1, id: inode, peer: inode + 1)
            second.tables.objects[index].flags |= SCP_OBJECT_IN_FLIGHT.rawValue
        }
        var third = Sketch("third")
        third.socket(domain: 1, id: 13, peer: 14)
        third.tables.objects[0].flags |= SCP_OBJECT_IN_FLIGHT.rawValue
        let tables = try merged(first, second, third)
        #expect(tables.objects.map(\.inode) == [11, 13])
        #expect(tables.translations == [[0], [0, 1], [1]])
    }

    @Test("A shared epoll set is filled once; locks of a shared description are set once")
    func once() throws {
        func sketch(_ name: String, borrowed: Bool) -> Sketch {
            var sketch = Sketch(name)
            let flags = borrowed ? [SCP_OBJECT_BORROWED] : []
            let set = sketch.object(SCP_OBJECT_EPOLL, identity: 1, flags: flags)
            let file = sketch.object(SCP_OBJECT_FILE, identity: 2, flags: flags)
            var watch = scp_watch()
            (watch.object, watch.target, watch.target_object) = (set, 5, Int32(file))
            sketch.tables.watches = [watch]
            var lock = scp_lock()
            (lock.kind, lock.object) = (SCP_LOCK_FLOCK.rawValue, file)
            sketch.tables.locks = [lock]
            return sketch
        }
        let tables = try merged(sketch("a", borrowed: true), sketch("b", borrowed: false))
        #expect(tables.watches.map(\.object) == [0] && tables.watches.map(\.target_object) == [1])
        #expect(tables.locks.map(\.object) == [1])
    }
}
