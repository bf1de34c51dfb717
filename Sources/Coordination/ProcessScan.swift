import Formats
import Glibc
import SystemCalls
import Wire

/// Who belongs to a computation, as far as its coordinator knows; pids as this host sees them.
public struct ScanQuery: Equatable, Sendable {
    public var computation: String
    /// Processes that are connected, of this computation.
    public var members: Set<Int32>
    /// Processes that are connected, of others: they are looked at no further.
    public var others: Set<Int32>
    /// Look again even at those that were found to be foreign before.
    public var isThorough = false

    public init(computation: String, members: Set<Int32>, others: Set<Int32> = []) {
        (self.computation, self.members, self.others) = (computation, members, others)
    }
}

/// A process that belongs to a computation, or is a child of a process that does, and is not connected.
public struct Stray: Equatable, Sendable {
    /// Why it never will be, as long as it runs this program.
    public enum Obstacle: Equatable, Sendable {
        case staticallyLinked, otherUser
        /// SwiftCP's library is there, but not its thread: made by a raw clone, or just being born.
        case withoutThread
        /// By job control or a debugger, before it could say HELLO.
        case stopped
    }

    /// As this host sees it.
    public var pid: Int32
    public var parent: Int32
    public var name: String
    /// The computation's id stands in its environment.
    public var isMarked: Bool
    /// In the middle of an exec or of its end: whose it is will show in a moment.
    public var isUndecided = false
    public var obstacle: Obstacle?

    public init(pid: Int32, parent: Int32, name: String, isMarked: Bool) {
        (self.pid, self.parent, self.name, self.isMarked) = (pid, parent, name, isMarked)
    }
}

/// Looks through /proc for processes that belong to a computation without being connected.
///
/// Who belongs is told by the environment (`SWIFTCP_COMPUTATION=id`), which holds in every moment of fork and exec and for
/// orphans that have left their session; a child of a member belongs too. What is foreign is remembered under the inode
/// of its folder in /proc, so that a second look costs one directory listing. *Source:* proc_pid_environ(5), fs/proc/base.c.
final class ProcessScan {
    /// Inodes of the folders of foreign processes.
    private var foreign: [Int32: UInt64] = [:]
    private let user: UInt32
    private let ownPid: Int32

    init(user: UInt32 = Processes.user, ownPid: Int32 = Processes.pid) { (self.user, self.ownPid) = (user, ownPid) }

    /// An empty answer is given only when two listings in a row have shown nobody: one alone is no instant, a process may
    /// have been born behind its back by one that ended before it was reached.
    func carryOut(_ query: ScanQuery) -> DiskOutcome {
        do throws(SystemError) {
            for _ in 0..<2 {
                let strays = try look(query)
                if !strays.isEmpty { return .strays(strays) }
            }
            return .strays([])
        } catch { return .failed(code: error.code, text: "\(error)") }
    }

    private func look(_ query: ScanQuery) throws(SystemError) -> [Stray] {
        let marker = Array("\(Self.variable)=\(query.computation)".utf8)
        var still: [Int32: UInt64] = [:]
        var strays: [Stray] = []
        for entry in try Processes.list() {
            let pid = entry.pid
            if pid == ownPid || query.members.contains(pid) || query.others.contains(pid) { continue }
            if !query.isThorough, foreign[pid] == entry.inode {
                still[pid] = entry.inode
                continue
            }
            switch examine(pid, marker, query.members) {
            case .stray(let stray): strays.append(stray)
            case .foreign: still[pid] = entry.inode
            case .gone: break
            }
        }
        foreign = still
        return strays
    }

    private static let variable = "SWIFTCP_COMPUTATION"

    private enum Finding {
        case stray(Stray)
        case foreign
        /// Ended, or about to: a zombie runs no more.
        case gone
    }

    private func examine(_ pid: Int32, _ marker: [UInt8], _ members: Set<Int32>) -> Finding {
        guard let stat = ProcessStat(pid) else { return .gone }
        if stat.isKernelThread { return .foreign }
        if stat.isZombie { return .gone }
        let environment = try? Files.read("/proc/\(pid)/environ", limit: 8 << 20)
        var stray = Stray(pid: pid, parent: stat.parent, name: stat.name, isMarked: false)
        if let environment, environment.isEmpty, !stat.hasEnvironment {
            stray.isUndecided = true
            return .stray(stray)
        }
        stray.isMarked = environment.map { Self.holds($0, marker) } ?? false
        guard stray.isMarked || members.contains(stat.parent) else { return .foreign }
        if Self.isTool(pid) { return .gone }
        stray.obstacle = obstacle(pid, stat)
        return .stray(stray)
    }

    /// Whether one of the NUL-terminated entries is exactly this.
    static func holds(_ environment: [UInt8], _ entry: [UInt8]) -> Bool {
        var start = environment.startIndex
        while environment.endIndex - start >= entry.count {
            let end = environment[start...].firstIndex(of: 0) ?? environment.endIndex
            if end - start == entry.count, environment[start..<end].elementsEqual(entry) { return true }
            start = end + 1
        }
        return false
    }

    /// SwiftCP's own commands may inherit the environment of a program that calls them.
    private static func isTool(_ pid: Int32) -> Bool {
        guard let path = try? Files.readLink("/proc/\(pid)/exe") else { return false }
        return ["swiftcp_launch", "swiftcp_restart", "swiftcp_coordinator"].contains(Path.name(path))
    }

    private func obstacle(_ pid: Int32, _ stat: ProcessStat) -> Stray.Obstacle? {
        programsObstacle(pid) ?? (stat.isStopped ? .stopped : nil) ?? (Self.lacksThread(pid) ? .withoutThread : nil)
    }

    /// What a look at the program alone tells.
    private func programsObstacle(_ pid: Int32) -> Stray.Obstacle? {
        if let owner = Self.effectiveUser(pid), owner != user { return .otherUser }
        return Self.isStatic("/proc/\(pid)/exe") ? .staticallyLinked : nil
    }

    private static func lacksThread(_ pid: Int32) -> Bool {
        guard let threads = try? Files.list("/proc/\(pid)/task"), threads.count == 1,
            let maps = try? Files.read("/proc/\(pid)/maps", limit: 8 << 20)
        else { return false }
        return String(decoding: maps, as: UTF8.self).contains("/libswiftcp.so")
    }

    /// *Source:* proc_pid_status(5): real, effective, saved and file system user.
    private static func effectiveUser(_ pid: Int32) -> UInt32? {
        guard let bytes = try? Files.read("/proc/\(pid)/status", limit: 1 << 16) else { return nil }
        let line = bytes.split(separator: UInt8(ascii: "\n")).first { $0.starts(with: Array("Uid:".utf8)) }
        let words = line?.split(separator: UInt8(ascii: "\t")) ?? []
        return words.count > 2 ? UInt32(String(decoding: words[2], as: UTF8.self)) : nil
    }

    /// True for an ELF program without an interpreter, unless it is the dynamic linker itself.
    static func isStatic(_ path: String) -> Bool {
        guard let file = try? Files.open(path, O_RDONLY) else { return false }
        func read(_ offset: Int64, _ count: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            let got = bytes.withUnsafeMutableBytes { pread(file.raw, $0.baseAddress, $0.count, off_t(offset)) }
            return Array(bytes.prefix(max(got, 0)))
        }
        if let target = try? Files.readLink(path), Path.name(target).hasPrefix("ld-") { return false }
        guard let program = try? ELFProgram(start: read(0, 256), read: read), program.identity.isOwn else {
            return false
        }
        return program.interpreter == nil
    }

    /// Those of these processes that run a program which will never connect.
    static func inspect(_ pids: [Int32]) -> [Stray] {
        let scan = ProcessScan()
        return pids.compactMap { pid in
            guard let stat = ProcessStat(pid), !stat.isZombie, let obstacle = scan.programsObstacle(pid) else {
                return nil
            }
            var stray = Stray(pid: pid, parent: stat.parent, name: stat.name, isMarked: true)
            stray.obstacle = obstacle
            return stray
        }
    }
}

/// What is needed of /proc/PID/stat. *Source:* proc_pid_stat(5).
struct ProcessStat {
    let name: String
    let parent: Int32
    let isZombie: Bool
    let isStopped: Bool
    let isKernelThread: Bool
    /// Its memory has a place for an environment: it is past its exec, or may not be looked at.
    let hasEnvironment: Bool

    init?(_ pid: Int32) {
        guard let bytes = try? Files.read("/proc/\(pid)/stat", limit: 4096) else { return nil }
        self.init(parsing: bytes)
    }

    init?(parsing bytes: [UInt8]) {
        // The name stands in parentheses and may hold anything, parentheses too.
        guard let open = bytes.firstIndex(of: UInt8(ascii: "(")), let close = bytes.lastIndex(of: UInt8(ascii: ")")),
            open < close
        else { return nil }
        let words = bytes[(close + 1)...].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
        // Field n of the manual page is word n - 3.
        func field(_ number: Int) -> UInt64? {
            guard words.count > number - 3 else { return nil }
            return UInt64(String(decoding: words[number - 3], as: UTF8.self))
        }
        guard let state = words.first?.first, let parent = field(4), let flags = field(9) else { return nil }
        name = String(decoding: bytes[(open + 1)..<close], as: UTF8.self)
        self.parent = Int32(truncatingIfNeeded: parent)
        isZombie = state == UInt8(ascii: "Z") || state == UInt8(ascii: "X")
        isStopped = state == UInt8(ascii: "T") || state == UInt8(ascii: "t")
        isKernelThread = flags & 0x0020_0000 != 0  // PF_KTHREAD
        hasEnvironment = field(51).map { $0 != 0 } ?? true
    }
}
