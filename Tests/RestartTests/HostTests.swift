import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import Options
import SystemCalls
import Testing

@testable import Restart

@Suite("What the host has")
struct HostTests {
    @Test("This processor lacks nothing that it has; what it lacks is named")
    func features() {
        var text = [CChar](repeating: 0, count: 256)
        let none = [UInt32](repeating: 0, count: 16)
        #expect(crestart_missing_features(none, 0, &text, text.count) == 0)
        var wanted = none
        wanted[7] = 1 << 11 | 1 << 16  // xop, fma4: no processor since 2017 has them
        let count = crestart_missing_features(wanted, 0, &text, text.count)
        #expect(count == 2)
        #expect(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) == "xop, fma4")
    }

    @Test("Numbers of processes and groups count as taken")
    func numbers() {
        #expect(crestart_number_taken(getpid()) == 1)
        #expect(crestart_number_taken(getpgrp()) == 1)
        #expect(crestart_number_taken(4_194_303) == 0)  // above pid_max of any test host
    }

    @Test("The kernel's pages are found in the text of maps")
    func pages() {
        let text = """
            7ffe2a9f5000-7ffe2a9f9000 r--p 00000000 00:00 0                          [vvar]
            7ffe2a9f9000-7ffe2a9fb000 r--p 00000000 00:00 0                          [vvar_vclock]
            7ffe2a9fb000-7ffe2a9fd000 r-xp 00000000 00:00 0                          [vdso]

            """
        let pages = KernelPages(maps: text)
        #expect(pages.vvarStart == 0x7ffe_2a9f_5000 && pages.vvarLength == 0x6000)
        #expect(pages.vdsoStart == 0x7ffe_2a9f_b000 && pages.vdsoLength == 0x2000)
        var moved = pages
        moved.vdsoStart += 0x1000
        moved.vvarStart += 0x1000
        #expect(moved.hasShape(of: pages))
        moved.vvarStart += 0x1000
        #expect(!moved.hasShape(of: pages))
    }

    @Test("The clock functions of this kernel's vdso are found; other bytes have none")
    func symbols() throws {
        let maps = try Files.read("/proc/self/maps")
        let pages = KernelPages(maps: String(decoding: maps, as: UTF8.self))
        var bytes = [UInt8](repeating: 0, count: Int(pages.vdsoLength))
        crestart_copy_memory(&bytes, pages.vdsoStart, bytes.count)
        let functions = DynamicSymbols.functions(bytes)
        let offset = try #require(functions["__vdso_clock_gettime"])
        #expect(offset > 0 && offset < pages.vdsoLength)
        #expect(DynamicSymbols.functions([]).isEmpty)
        #expect(DynamicSymbols.functions(Array(bytes.prefix(100))).isEmpty)
        for place in stride(from: 16, to: 64, by: 1) {
            var hostile = bytes
            hostile[place] = 0xff
            _ = DynamicSymbols.functions(hostile)  // must not trap
        }
    }

    @Test("Namespaces are tried without leaving this process's own")
    func probe() {
        var spaces = crestart_spaces()
        spaces.flags = CRESTART_SPACE_USER.rawValue | CRESTART_SPACE_PID.rawValue
        (spaces.user, spaces.group, spaces.last_pid) = (geteuid(), getegid(), 1000)
        let before = try? Files.readLink("/proc/self/ns/user")
        let result = crestart_spaces_probe(&spaces)
        #expect(result == 0 || [-EPERM, -ENOSPC, -EUSERS, -EACCES, -EINVAL].contains(result))
        #expect((try? Files.readLink("/proc/self/ns/user")) == before)
    }
}

@Suite("What is refused early")
struct PreflightTests {
    private func refusal(_ change: (inout ImageBuilder) -> Void) throws -> RestartError {
        var builder = ImageBuilder.small()
        (builder.process.uid, builder.process.euid) = (getuid(), geteuid())
        (builder.process.gid, builder.process.egid) = (getgid(), getegid())
        builder.process.directory = builder.string("/")
        change(&builder)
        let fixture = try Fixture(builder)
        return try #require(throws: RestartError.self) {
            try Preflight(file: fixture.image, options: try options()).check()
        }
    }

    @Test("Processor features that are missing: status 4, by name, with the host it came from")
    func features() throws {
        let error = try refusal { builder in
            withUnsafeMutableBytes(of: &builder.header.cpu_features) { words in
                words.storeBytes(of: UInt32(1 << 16), toByteOffset: 28, as: UInt32.self)
            }
        }
        #expect(error.status == 4 && error.message.contains("fma4") && error.message.contains("night"))
    }

    @Test("Another user's program: status 1, both users named")
    func user() throws {
        let error = try refusal { ($0.process.uid, $0.process.euid) = (4711, 4711) }
        #expect(error.status == 1 && error.message.contains("4711") && error.message.contains("\(geteuid())"))
    }

    @Test("A working directory that is gone")
    func directory() throws {
        let error = try refusal { $0.process.directory = $0.string("/nonexistent") }
        #expect(error.status == 1 && error.message.contains("/nonexistent") && error.message.contains("--map"))
    }

    @Test("A damaged content of a file or pipe: status 4")
    func contents() throws {
        var builder = ImageBuilder.small()
        builder.blobs[0].checksum ^= 1
        let fixture = try Fixture(builder)
        let error = try #require(throws: RestartError.self) {
            try Preflight(file: fixture.image, options: try options()).checkContents()
        }
        #expect(error.status == 4 && error.message.contains("content 0"))
    }
}

@Suite("Options")
struct RestartOptionsTests {
    @Test("Paths are mapped whole components at a time, by the first rule that fits")
    func maps() throws {
        let chosen = try options("--map", "/data=/mnt/x", "--map", "/=/elsewhere")
        func mapped(_ path: String) -> String { String(decoding: chosen.mapped(Array(path.utf8)), as: UTF8.self) }
        #expect(mapped("/data/a") == "/mnt/x/a")
        #expect(mapped("/data") == "/mnt/x")
        #expect(mapped("/database") == "/elsewhere/database")
    }

    @Test("A rule without two absolute paths is a usage error", arguments: ["/a", "a=/b", "/a=b", "="])
    func badMap(rule: String) throws {
        let error = try #require(throws: RestartError.self) { _ = try options("--map", rule) }
        #expect(error.status == ExitStatus.usage)
    }

    @Test("Layers follow --keep-pids: new ids only where they are allowed")
    func layers() throws {
        let fixture = try Fixture(.small())
        let never = try identity(fixture.image, try options("--keep-pids", "never")).candidates()
        #expect(never == [.patch])
        let required = try identity(fixture.image, try options("--keep-pids", "require")).candidates()
        #expect(!required.contains(.patch) && required.contains(.user))
        let preferred = try identity(fixture.image, try options()).candidates()
        #expect(preferred.last == .patch && preferred.contains(.user))
    }

    @Test("New ids are refused while a robust mutex is held")
    func robust() throws {
        var builder = ImageBuilder.small()
        builder.threads[1].robust_list = 0x601000  // its content is no empty list
        let fixture = try Fixture(builder)
        let layers = try identity(fixture.image, try options("--keep-pids", "never"))
        let error = try #require(throws: RestartError.self) { _ = try layers.enter() }
        #expect(error.message.contains("1236") && error.message.contains("robust"))
    }
}
