import CSwiftCP
import Glibc

/// What stat(2) tells of a file.
public struct FileStatus: Equatable, Sendable {
    public let device: UInt64
    public let inode: UInt64
    /// The device it is, for a device file.
    public let specialDevice: UInt64
    /// Bytes.
    public let size: Int64
    /// Bytes on the disk.
    public let allocated: UInt64
    /// Nanoseconds since the epoch.
    public let modified: UInt64
    /// Type and permissions, `st_mode`.
    public let mode: UInt32
    public let owner: UInt32
    public let group: UInt32
    public let links: UInt32

    init(_ raw: scp_stat) {
        (device, inode, specialDevice) = (raw.device, raw.inode, raw.rdev)
        (size, allocated, modified) = (raw.size, raw.blocks &* 512, raw.mtime)
        (mode, owner, group, links) = (raw.mode, raw.uid, raw.gid, raw.links)
    }

    public var isDirectory: Bool { mode & 0o170000 == 0o040000 }
    public var isRegular: Bool { mode & 0o170000 == 0o100000 }
    public var isLink: Bool { mode & 0o170000 == 0o120000 }
    public var isSocket: Bool { mode & 0o170000 == 0o140000 }
    /// The permission bits with setuid, setgid and sticky.
    public var permissions: UInt32 { mode & 0o7777 }
}

/// Files and folders by path. Each function is the system call of its name; errors name the path.
public enum Files {
    /// open(2); O_CLOEXEC is always added.
    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(SystemError) -> OwnedDescriptor {
        let operation = flags & O_CREAT != 0 ? "create" : "open"
        return OwnedDescriptor(owning: try check(scp_open(path, flags, mode), operation, path))
    }

    public static func status(_ path: String) throws(SystemError) -> FileStatus {
        var out = scp_stat()
        try check(scp_stat(path, &out), "stat", path)
        return FileStatus(out)
    }

    /// Of a symbolic link itself.
    public static func linkStatus(_ path: String) throws(SystemError) -> FileStatus {
        var out = scp_stat()
        try check(scp_lstat(path, &out), "stat", path)
        return FileStatus(out)
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    public static func makeDirectory(_ path: String, mode: UInt32 = 0o777) throws(SystemError) {
        if mkdir(path, mode_t(mode)) != 0 { throw .last("create folder", path) }
    }

    /// Makes the folder and those above it that are missing. An existing folder is no error.
    public static func makeDirectories(_ path: String, mode: UInt32 = 0o777) throws(SystemError) {
        if let status = try? status(path), status.isDirectory { return }
        let parent = Path.parent(path)
        if parent != path { try makeDirectories(parent, mode: mode) }
        if mkdir(path, mode_t(mode)) != 0, errno != EEXIST { throw .last("create folder", path) }
        guard let status = try? status(path), status.isDirectory else {
            throw SystemError(ENOTDIR, "create folder", path)
        }
    }

    /// Renames; an existing target is replaced, unless `replacing` is false (then EEXIST).
    public static func rename(_ from: String, to target: String, replacing: Bool = true) throws(SystemError) {
        var result = scp_rename(from, target, replacing ? 0 : 1)
        // Some file systems cannot promise it (NFS): then look first.
        if result == -EINVAL, !replacing { result = exists(target) ? -EEXIST : scp_rename(from, target, 0) }
        try check(result, "rename", "\(from) to \(target)")
    }

    public static func unlink(_ path: String) throws(SystemError) {
        if Glibc.unlink(path) != 0 { throw .last("remove", path) }
    }

    public static func removeDirectory(_ path: String) throws(SystemError) {
        if rmdir(path) != 0 { throw .last("remove folder", path) }
    }

    /// Removes a file or a folder with all it holds; symbolic links are removed, not followed. ENOENT is no error.
    public static func removeTree(_ path: String) throws(SystemError) {
        let status: FileStatus
        do throws(SystemError) { status = try linkStatus(path) } catch {
            if error.code == ENOENT { return }
            throw error
        }
        guard status.isDirectory else { return try unlink(path) }
        for name in try list(path) { try removeTree(path + "/" + name) }
        try removeDirectory(path)
    }

    /// Replaces the symbolic link `path` in one step, so that it always points somewhere.
    public static func replaceLink(_ path: String, to target: String) throws(SystemError) {
        let temporary = path + ".tmp"
        _ = Glibc.unlink(temporary)
        if symlink(target, temporary) != 0 { throw .last("create link", temporary) }
        try rename(temporary, to: path)
    }

    public static func readLink(_ path: String) throws(SystemError) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink(path, &buffer, buffer.count)
        if count < 0 { throw .last("read link", path) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// A second name for a file, beside the first.
    public static func hardLink(_ path: String, to name: String) throws(SystemError) {
        guard link(path, name) == 0 else { throw .last("link", path) }
    }

    /// The absolute path without links, `.` and `..`; every part must exist.
    public static func realPath(_ path: String) throws(SystemError) -> String {
        guard let resolved = realpath(path, nil) else { throw .last("resolve", path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Names in a folder without `.` and `..`, sorted.
    public static func list(_ path: String) throws(SystemError) -> [String] {
        guard let directory = opendir(path) else { throw .last("list", path) }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        if errno != 0 { throw .last("list", path) }
        return names.sorted()
    }

    /// The whole file, at most `limit` bytes.
    public static func read(_ path: String, limit: Int = 64 << 20) throws(SystemError) -> [UInt8] {
        try open(path, O_RDONLY).readToEnd(limit: limit, object: path)
    }

    /// Writes a new file and fsyncs it; an existing one is cut.
    public static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o600) throws(SystemError) {
        let file = try open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try file.write(bytes, object: path)
        try file.sync(object: path)
        try file.close()
    }

    /// Makes the names in a folder durable.
    public static func syncDirectory(_ path: String) throws(SystemError) {
        try open(path, O_RDONLY | O_DIRECTORY).sync(object: path)
    }

    public static func currentDirectory() throws(SystemError) -> String {
        guard let path = getcwd(nil, 0) else { throw .last("find", "the working directory") }
        defer { free(path) }
        return String(cString: path)
    }
}

/// Paths as text.
public enum Path {
    /// Everything before the last component: `/a/b` → `/a`, `/a` → `/`, `a` → `.`, `/` → `/`.
    public static func parent(_ path: String) -> String {
        let trimmed = trimmingSlashes(path)
        guard let slash = trimmed.utf8.lastIndex(of: UInt8(ascii: "/")) else { return trimmed == "/" ? "/" : "." }
        return slash == trimmed.startIndex ? "/" : trimmingSlashes(String(trimmed[..<slash]))
    }

    /// The last component: `/a/b/` → `b`.
    public static func name(_ path: String) -> String {
        let trimmed = trimmingSlashes(path)
        guard trimmed != "/", let slash = trimmed.utf8.lastIndex(of: UInt8(ascii: "/")) else { return trimmed }
        return String(trimmed[trimmed.utf8.index(after: slash)...])
    }

    /// The path below the working directory, when it isn't absolute already. Links are not resolved.
    public static func absolute(_ path: String) throws(SystemError) -> String {
        path.utf8.first == UInt8(ascii: "/") ? path : try Files.currentDirectory() + "/" + path
    }

    private static func trimmingSlashes(_ path: String) -> String {
        var text = Substring(path)
        while text.utf8.count > 1, text.utf8.last == UInt8(ascii: "/") { text.removeLast() }
        return String(text)
    }
}
