import CSwiftCP
import Glibc

/// The environment of this process.
public enum Environment {
    /// The variable's value; nil when it is unset or empty.
    public static func value(_ name: String) -> String? {
        guard let raw = getenv(name), raw.pointee != 0 else { return nil }
        return String(cString: raw)
    }
}

/// This process and others by pid.
public enum Processes {
    public static var pid: Int32 { getpid() }
    public static var user: UInt32 { geteuid() }

    /// True while the pid exists (a zombie does).
    public static func exists(_ pid: Int32) -> Bool {
        pid > 0 && (kill(pid, 0) == 0 || errno == EPERM)
    }

    /// The path of this program's file.
    public static func executable() throws(SystemError) -> String { try Files.readLink("/proc/self/exe") }

    /// Processors that are online, at least 1.
    public static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    public static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// As uname(2) has it; "" when /proc is missing.
    public static var kernelRelease: String {
        guard let bytes = try? Files.read("/proc/sys/kernel/osrelease", limit: 256) else { return "" }
        return String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
    }

    /// One process in /proc.
    public struct Entry: Equatable, Sendable {
        public let pid: Int32
        /// Of its folder in /proc: differs when the pid has been used again.
        public let inode: UInt64

        public init(pid: Int32, inode: UInt64) { (self.pid, self.inode) = (pid, inode) }
    }

    /// All processes that can be seen. *Source:* proc(5).
    public static func list() throws(SystemError) -> [Entry] {
        var capacity = 1024
        while true {
            var raw = [scp_process_entry](repeating: scp_process_entry(), count: capacity)
            let count = Int(try check(scp_list_processes(&raw, capacity), "list", "/proc"))
            if count <= capacity { return raw[..<count].map { Entry(pid: $0.pid, inode: $0.inode) } }
            capacity = count + count / 2
        }
    }

    /// Compares the open file descriptions behind two descriptors: below 0, 0 (the same) or above 0, a total order as
    /// long as both are open. EPERM when one of the processes must not be looked into. *Source:* kcmp(2).
    public static func compareFiles(
        _ pid: Int32, _ descriptor: Int32, with otherPid: Int32, _ otherDescriptor: Int32
    ) throws(SystemError) -> Int {
        let order = try check(
            scp_compare_files(pid, descriptor, otherPid, otherDescriptor), "compare",
            "descriptor \(descriptor) of process \(pid) with descriptor \(otherDescriptor) of process \(otherPid)")
        return order == 0 ? 0 : order == 1 ? -1 : 1
    }

    public static func isTerminal(_ raw: Int32) -> Bool { isatty(raw) == 1 }
}

/// A process that can be waited for and signalled without mistaking another one for it (pidfd).
public struct ProcessHandle: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor
    /// Becomes readable when the process has ended.
    public var raw: Int32 { descriptor.raw }

    /// ESRCH when there is no such process.
    public init(pid: Int32) throws(SystemError) {
        descriptor = OwnedDescriptor(owning: try check(scp_pidfd_open(pid), "watch", "process \(pid)"))
    }

    public borrowing func signal(_ number: Int32) throws(SystemError) {
        try check(scp_pidfd_signal(descriptor.raw, number), "send signal \(number) to", "a process")
    }
}

/// Where the parts that are no Swift are found.
public enum NativeFiles {
    /// The folder with `libswiftcp.so` and `swiftcp_restorer`: `$SWIFTCP_LIBDIR`, else `../lib/swiftcp` beside the running
    /// program (an installation), else the build folder's resources. nil when none has them.
    public static func directory() -> String? {
        guard let executable = try? Processes.executable() else { return nil }
        let folder = Path.parent(executable)
        let candidates = [
            Environment.value("SWIFTCP_LIBDIR"), folder + "/../lib/swiftcp",
            folder + "/swiftcp_Native.resources", folder + "/swiftcp_Native.bundle",
        ]
        for case let candidate? in candidates where access(candidate + "/libswiftcp.so", R_OK) == 0 {
            return (try? Files.realPath(candidate)) ?? candidate
        }
        return nil
    }

    /// The shim to preload, as an absolute path.
    public static func shim() throws(SystemError) -> String { try find("libswiftcp.so") }

    /// The executable that swaps address spaces.
    public static func restorer() throws(SystemError) -> String { try find("swiftcp_restorer") }

    private static func find(_ name: String) throws(SystemError) -> String {
        let hint = "set SWIFTCP_LIBDIR to the folder of libswiftcp.so and swiftcp_restorer, or install again"
        guard let path = directory().map({ $0 + "/" + name }), access(path, R_OK) == 0 else {
            throw SystemError(ENOENT, "find", name, hint: hint)
        }
        return path
    }
}
