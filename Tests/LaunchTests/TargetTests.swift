import Formats
import Foundation
import SystemCalls
import Testing

@testable import Launch

/// A folder that goes away with the test.
final class Scratch {
    let path: String

    init() throws {
        let base = FileManager.default.temporaryDirectory.path
        path = base + "/swiftcp-launch-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file and returns its path.
    @discardableResult
    func file(_ name: String, _ content: [UInt8], mode: UInt32 = 0o755) throws -> String {
        let file = path + "/" + name
        try Files.write(content, to: file)
        chmod(file, mode_t(mode))
        return file
    }

    func file(_ name: String, text: String, mode: UInt32 = 0o755) throws -> String {
        try file(name, Array(text.utf8), mode: mode)
    }
}

/// An ELF file's beginning: header, one program header, and the interpreter's path.
struct ELFSample {
    var fileClass: UInt8 = 2
    var order: UInt8 = 1
    var type: UInt16 = 3
    var machine: UInt16 = ELFHeader.Machine.own
    var interpreter: String? = "/lib64/ld-linux-x86-64.so.2"
    var headerSize: UInt16 = 56
    var count: UInt16 = 1
    var tableOffset: UInt64 = 64
    var interpreterLength: UInt64?

    var bytes: [UInt8] {
        var out: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, fileClass, order, 1, 0]  // "\x7fELF", class, data, version, ABI
        out += [UInt8](repeating: 0, count: 8)  // padding
        add(type, &out)  // e_type
        add(machine, &out)  // e_machine
        add(UInt32(1), &out)  // e_version
        add(UInt64(0), &out)  // e_entry
        add(tableOffset, &out)  // e_phoff
        add(UInt64(0), &out)  // e_shoff
        add(UInt32(0), &out)  // e_flags
        add(UInt16(64), &out)  // e_ehsize
        add(headerSize, &out)  // e_phentsize
        add(count, &out)  // e_phnum
        out += [UInt8](repeating: 0, count: 6)  // e_shentsize, e_shnum, e_shstrndx
        add(UInt32(interpreter == nil ? 1 : 3), &out)  // p_type: PT_LOAD or PT_INTERP
        add(UInt32(4), &out)  // p_flags
        add(UInt64(120), &out)  // p_offset
        out += [UInt8](repeating: 0, count: 16)  // p_vaddr, p_paddr
        let text = Array((interpreter ?? "").utf8) + [0]
        add(interpreterLength ?? UInt64(text.count), &out)  // p_filesz
        out += [UInt8](repeating: 0, count: 16)  // p_memsz, p_align
        return out + text
    }

    private func add<Number: FixedWidthInteger>(_ number: Number, _ out: inout [UInt8]) {
        withUnsafeBytes(of: order == 1 ? number.littleEndian : number.bigEndian) { out += $0 }
    }
}

private func header(_ bytes: [UInt8]) throws -> ELFProgram {
    try ELFProgram(start: Array(bytes.prefix(256))) { offset, count throws(SystemError) in
        Array(bytes.dropFirst(Int(offset)).prefix(count))
    }
}

@Suite struct `Reading an ELF header` {
    @Test func `The interpreter is found`() throws {
        let result = try header(ELFSample().bytes)
        #expect(result.interpreter == "/lib64/ld-linux-x86-64.so.2")
        #expect(result.identity.isOwn && result.identity.type == 3)
        #expect(try header(ELFSample(interpreter: nil).bytes).interpreter == nil)
        #expect(try header(ELFSample(order: 2, machine: 8).bytes).identity.machineName == "MIPS")
    }

    @Test func `Cut short anywhere it is refused`() {
        let whole = ELFSample().bytes
        for length in 0..<whole.count { #expect(throws: (any Error).self) { try header(Array(whole[..<length])) } }
    }

    @Test(arguments: [
        ELFSample(headerSize: 32), ELFSample(count: 0), ELFSample(count: 65535), ELFSample(tableOffset: 1 << 50),
        ELFSample(tableOffset: .max), ELFSample(interpreterLength: 1), ELFSample(interpreterLength: 1 << 40),
        ELFSample(interpreterLength: .max),
    ])
    func `Hostile numbers are refused`(sample: ELFSample) {
        #expect(throws: (any Error).self) { try header(sample.bytes) }
    }
}

@Suite struct `Looking at a target` {
    private func reason(_ command: String, path: String? = nil) -> String {
        do throws(LaunchError) {
            let result = try Target(search: SearchPath(folders: path)).check(command)
            return "starts \(result.path)" + (result.needsShell ? " with a shell" : "")
        } catch { return error.message }
    }

    @Test func `A program is found as execvp finds it`() throws {
        let scratch = try Scratch()
        let folder = scratch.path
        try FileManager.default.createDirectory(atPath: folder + "/sub", withIntermediateDirectories: true)
        _ = try scratch.file("tool", text: "not executable", mode: 0o644)
        let wanted = try scratch.file("sub/tool", text: "#!/bin/sh\n")
        #expect(reason("tool", path: "/nonexistent:\(folder):\(folder)/sub") == "starts \(wanted)")
        #expect(
            reason("tool", path: folder).hasSuffix(
                "it is not executable: Permission denied; chmod +x makes it executable"))
        #expect(reason("sub", path: folder).hasSuffix("it is a folder"))
        #expect(reason("tooool", path: folder).contains("no such program in PATH"))
        #expect(reason("").contains("a command has a name"))
        #expect(reason(folder + "/none").hasSuffix("none under SwiftCP: No such file or directory"))
        #expect(reason("/dev/null").hasSuffix("it is not a regular file"))
    }

    @Test func `What cannot carry the library is refused with the reason`() throws {
        let scratch = try Scratch()
        let plain = ELFSample().bytes
        let table: [(String, [UInt8], UInt32, String)] = [
            ("fine", plain, 0o755, "starts"),
            ("setuid", plain, 0o4755, "it is a setuid program, into which no library can be preloaded"),
            ("setgid", plain, 0o2755, "it is a setgid program, into which no library can be preloaded"),
            ("locked", plain, 0o2745, "starts"),  // setgid without x: mandatory locking
            (
                "static", ELFSample(interpreter: nil).bytes, 0o755,
                "it is statically linked, so no library can be preloaded; link it dynamically"
            ),
            (
                "other", ELFSample(machine: 243).bytes, 0o755,
                "it is a 64-bit program for another architecture (RISC-V)"
            ),
            (
                "short", ELFSample(fileClass: 1, machine: 3).bytes, 0o755,
                "it is a 32-bit program for another architecture (i386)"
            ),
            ("object", ELFSample(type: 1).bytes, 0o755, "it is an ELF file, but no program"),
            (
                "musl", ELFSample(interpreter: "/lib/ld-musl-none.so.1").bytes, 0o755,
                "is missing: No such file or directory"
            ),
            ("cut", Array(plain.prefix(100)), 0o755, "its ELF header is damaged or cut short"),
            ("data", [1, 2, 0, 3], 0o755, "it is neither an ELF program nor a script"),
            ("text", Array("echo hello\n".utf8), 0o755, "with a shell"),
            ("empty", [], 0o755, "with a shell"),
            ("nameless", Array("#! \n".utf8), 0o755, "its #! line names no interpreter"),
        ]
        for (name, content, mode, expected) in table {
            let path = try scratch.file(name, content, mode: mode)
            let got = reason(path)
            #expect(got.contains(expected), "\(name): \(got)")
        }
    }

    @Test func `Scripts are followed to what would be executed`() throws {
        let scratch = try Scratch()
        let fixed = try scratch.file("static", ELFSample(interpreter: nil).bytes)
        let first = try scratch.file("first", text: "#!\(fixed) -x\n")
        let second = try scratch.file("second", text: "#! \(first)\n")
        #expect(
            reason(second).contains("its interpreter: cannot start \(fixed) under SwiftCP: it is statically linked"))
        let env = try scratch.file("env-script", text: "#!/usr/bin/env -S A=1 static\n")
        #expect(reason(env, path: "\(scratch.path):/usr/bin").contains("statically linked"))
        let gone = try scratch.file("gone", text: "#!/nonexistent/sh\n")
        #expect(reason(gone).hasSuffix("cannot start /nonexistent/sh under SwiftCP: No such file or directory"))
        let loop = try scratch.file("loop", text: "#!\(scratch.path)/loop\n")
        #expect(reason(loop).hasSuffix("refer to each other more than five times"))
        let good = try scratch.file("good", text: "#!/bin/sh -e\n")
        #expect(reason(good) == "starts \(good)")
    }

    @Test(arguments: [
        (" /bin/sh", ["/bin/sh"]), ("/bin/sh -e -x ", ["/bin/sh", "-e -x"]), ("\t/a\tb", ["/a", "b"]), ("  ", []),
    ])
    func `A script's first line has an interpreter and one argument`(line: String, words: [String]) {
        #expect(Target.scriptWords(line) == words)
    }

    @Test(.enabled(if: geteuid() == 0, "setting file capabilities needs root"))
    func `File capabilities are seen`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("capable", ELFSample().bytes)
        // struct vfs_cap_data, revision 2: magic and effective flag, then permitted and inheritable words (CAP_NET_RAW).
        let value = "0100000200200000000000000000000000000000"
        let script = "import os,sys; os.setxattr(sys.argv[1], 'security.capability', bytes.fromhex(sys.argv[2]))"
        let python = Process()
        python.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        python.arguments = ["python3", "-c", script, path, value]
        try python.run()
        python.waitUntilExit()
        try #require(python.terminationStatus == 0)
        #expect(reason(path).contains("it has file capabilities"))
    }
}
