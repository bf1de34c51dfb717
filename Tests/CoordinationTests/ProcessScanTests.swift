import Glibc
import SystemCalls
import Testing

@testable import Coordination

@Suite("Looking through /proc", .timeLimit(.minutes(1)))
struct ProcessScanTests {
    /// A child that waits until its input is closed, which happens at the latest with this process's end.
    final class Child {
        let pid: pid_t
        private var input: Int32

        init(_ words: [String], environment: [String]) throws {
            let pipe = try OwnedDescriptor.pipe()
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            posix_spawn_file_actions_adddup2(&actions, pipe.reading.raw, 0)
            var arguments = words.map { strdup($0) } + [nil]
            var variables = environment.map { strdup($0) } + [nil]
            defer { for pointer in arguments + variables { free(pointer) } }
            var child = pid_t()
            let failure = posix_spawn(&child, words[0], &actions, nil, &arguments, &variables)
            if failure != 0 { throw SystemError(failure, "start", words[0]) }
            pid = child
            input = pipe.writing.release()
        }

        deinit {
            close(input)
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
    }

    private func look(_ scan: ProcessScan, _ query: ScanQuery) throws -> [Stray] {
        guard case .strays(let strays) = scan.carryOut(query) else { throw SystemError(EIO, "look") }
        return strays.filter { !$0.isUndecided }
    }

    /// Until the child is past its exec: before that it has this process's environment.
    private func settled(_ child: Child) throws {
        let deadline = Instant.now.advanced(seconds: 10)
        // The program's file changes first; the new environment stands there a little later.
        while Instant.now < deadline {
            let sameProgram = try Files.readLink("/proc/\(child.pid)/exe") == Files.readLink("/proc/self/exe")
            if try !sameProgram && !Files.read("/proc/\(child.pid)/environ", limit: 1 << 16).isEmpty { return }
            sched_yield()
        }
    }

    @Test("A process with the mark is found, members and other computations' processes are not")
    func marked() throws {
        let id = "scan\(getpid())a"
        let child = try Child(["/bin/cat"], environment: ["A=1", "SWIFTCP_COMPUTATION=\(id)", "B=2"])
        try settled(child)
        let scan = ProcessScan()
        let found = try look(scan, ScanQuery(computation: id, members: []))
        #expect(found.map(\.pid) == [child.pid])
        #expect(found.first?.name == "cat" && found.first?.parent == getpid() && found.first?.isMarked == true)
        #expect(found.first?.obstacle == nil)
        #expect(try look(scan, ScanQuery(computation: id, members: [child.pid])).isEmpty)
        #expect(try look(scan, ScanQuery(computation: id + "b", members: [])).isEmpty)
        #expect(try look(scan, ScanQuery(computation: String(id.dropLast()), members: [])).isEmpty)
    }

    @Test("A child of a member without the mark is found; what was foreign stays so until a thorough look")
    func unmarkedChild() throws {
        let child = try Child(["/bin/cat"], environment: ["A=1"])
        try settled(child)
        // This process stands for the member; the scan believes to be somebody else.
        let scan = ProcessScan(ownPid: 1)
        #expect(try look(scan, ScanQuery(computation: "none", members: [1])).allSatisfy { $0.pid != child.pid })
        var query = ScanQuery(computation: "none", members: [getpid()])
        #expect(try !look(scan, query).contains { $0.pid == child.pid })
        query.isThorough = true
        let found = try look(scan, query).first { $0.pid == child.pid }
        #expect(found?.isMarked == false && found?.parent == getpid())
    }

    @Test("A zombie is nobody, and an end is seen")
    func zombie() throws {
        let id = "scan\(getpid())z"
        let child = try Child(["/bin/cat"], environment: ["SWIFTCP_COMPUTATION=\(id)"])
        try settled(child)
        let scan = ProcessScan()
        #expect(try look(scan, ScanQuery(computation: id, members: [])).count == 1)
        kill(child.pid, SIGKILL)
        var information = siginfo_t()
        waitid(P_PID, id_t(child.pid), &information, WEXITED | WNOWAIT)
        #expect(try look(scan, ScanQuery(computation: id, members: [])).isEmpty)
    }

    @Test("An entry of an environment is found whole or not at all")
    func environment() {
        func holds(_ text: String, _ entry: String) -> Bool { ProcessScan.holds(Array(text.utf8), Array(entry.utf8)) }
        #expect(holds("A=1\0B=2\0", "A=1") && holds("A=1\0B=2\0", "B=2") && holds("A=1", "A=1"))
        #expect(!holds("A=12\0B=2\0", "A=1") && !holds("XA=1\0", "A=1") && !holds("", "A=1") && !holds("A", "A=1"))
        #expect(holds("\0\0A=1\0", "A=1") && !holds("A=\u{31}2", "A=1"))
    }

    @Test("Names with parentheses and blanks do not confuse the reader of stat")
    func stat() throws {
        let rest = "S 7 0 0 0 -1 4194560" + String(repeating: " 1", count: 41) + " 140 150 0\n"
        let stat = try #require(ProcessStat(parsing: Array("12 (a) b) (c) \(rest)".utf8)))
        #expect(stat.name == "a) b) (c" && stat.parent == 7)
        #expect(!stat.isZombie && !stat.isKernelThread && stat.hasEnvironment)
        let thread = try #require(ProcessStat(parsing: Array("2 (kthreadd) S 0 0 0 0 -1 2129984 0".utf8)))
        #expect(thread.isKernelThread)
        #expect(try #require(ProcessStat(parsing: Array("3 (x) Z 1 0 0 0 -1 0 0".utf8))).isZombie)
        #expect(try #require(ProcessStat(parsing: Array("3 (x) T 1 0 0 0 -1 0 0".utf8))).isStopped)
        for text in ["", "12", "12 (a", "12 )a( S 1", "12 (a) S"] {
            #expect(ProcessStat(parsing: Array(text.utf8)) == nil)
        }
        let own = try #require(ProcessStat(getpid()))
        #expect(own.parent == getppid() && own.hasEnvironment)
    }

    @Test("A dynamically linked program is told from a static one")
    func linkage() throws {
        #expect(!ProcessScan.isStatic("/bin/cat"))
        #expect(!ProcessScan.isStatic("/etc/passwd") && !ProcessScan.isStatic("/nowhere"))
        let scratch = Scratch()
        let path = scratch.path + "/static"
        // An ELF header with one program header of type PT_LOAD.
        var bytes = [UInt8](repeating: 0, count: 200)
        bytes.replaceSubrange(0..<6, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1])
        bytes[18] = 62
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, 1)
        try Files.write(bytes, to: path)
        #expect(ProcessScan.isStatic(path))
        bytes[64] = 3
        try Files.write(bytes, to: path)
        #expect(!ProcessScan.isStatic(path))
        bytes[32] = 250
        try Files.write(bytes, to: path)
        #expect(!ProcessScan.isStatic(path))
    }
}
