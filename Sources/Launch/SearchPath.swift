import Glibc
import SystemCalls

/// Finds a command's file as execvp(3) does.
struct SearchPath {
    /// `$PATH` as the program will have it; nil when it is unset.
    let folders: String?

    /// The path that would be executed: the command itself if it has a slash, else the first executable file of that name
    /// in the folders. An empty folder is the working directory.
    ///
    /// - Throws: `LaunchError` when there is none; a file that is there but may not be executed is named.
    func resolve(_ command: String) throws(LaunchError) -> String {
        if command.isEmpty { throw LaunchError("cannot start '': a command has a name") }
        if command.utf8.contains(UInt8(ascii: "/")) {
            try checkFile(command)
            return command
        }
        var refusal: LaunchError?
        // Without PATH the C library searches these two (confstr(3), _CS_PATH).
        for folder in (folders ?? "/bin:/usr/bin").split(separator: ":", omittingEmptySubsequences: false) {
            let candidate = folder.isEmpty ? "./" + command : folder + "/" + command
            guard Files.exists(candidate) else { continue }
            do throws(LaunchError) {
                try checkFile(candidate)
                return candidate
            } catch {
                refusal = refusal ?? error
            }
        }
        throw refusal ?? .refused(command, "there is no such program in PATH; check its name, or give its path")
    }

    /// A regular file that this user may execute.
    private func checkFile(_ path: String) throws(LaunchError) {
        let status: FileStatus
        do throws(SystemError) { status = try Files.status(path) } catch {
            throw .refused(path, error.reason)
        }
        if status.isDirectory { throw .refused(path, "it is a folder") }
        guard status.isRegular else { throw .refused(path, "it is not a regular file") }
        if access(path, X_OK) != 0 {
            let hint = status.permissions & 0o111 == 0 ? "; chmod +x makes it executable" : ""
            throw .refused(path, "it is not executable: \(SystemError.reason(errno))\(hint)")
        }
    }
}
