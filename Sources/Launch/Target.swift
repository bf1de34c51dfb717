import CSwiftCP
import Formats
import Glibc
import SystemCalls

/// Looks whether a program can run under the shim, before it is started: what the dynamic linker would not load the shim
/// into would run, but never be checkpointed.
struct Target {
    let search: SearchPath

    /// Resolves the command and checks its file, and through `#!` lines every file that would be executed instead.
    ///
    /// - Returns: the path to execute, and whether it needs `/bin/sh` in front (a text without `#!`, as execvp(3) has it).
    /// - Throws: `LaunchError` with the reason.
    func check(_ command: String) throws(LaunchError) -> (path: String, needsShell: Bool) {
        let path = try search.resolve(command)
        switch try inspect(path) {
        case .program: return (path, false)
        case .script(let interpreter):
            try checkInterpreter(interpreter, of: path)
            return (path, false)
        case .text:
            guard case .program = try inspect("/bin/sh") else {
                throw .refused(path, "it has no #! line and /bin/sh is no program")
            }
            return (path, true)
        }
    }

    private enum Kind {
        case program
        case script(interpreter: [String])
        case text
    }

    /// What the kernel would make of the file; throws for a program that cannot carry the shim.
    private func inspect(_ path: String) throws(LaunchError) -> Kind {
        try checkPrivileges(path)
        // A program may be executable without being readable; then nothing can be said about it.
        guard access(path, R_OK) == 0 else {
            throw .refused(
                path, "it may not be read, so it cannot be checked or checkpointed: \(SystemError.reason(errno))")
        }
        let start = try system { () throws(SystemError) in try Self.bytes(of: path, at: 0, count: 256) }
        if start.starts(with: ELFIdentity.magic) {
            try checkELF(path, start)
            return .program
        }
        if start.starts(with: Array("#!".utf8)) {
            let line = start.dropFirst(2).prefix { $0 != 10 && $0 != 0 }
            let words = Self.scriptWords(String(decoding: line, as: UTF8.self))
            if words.isEmpty { throw .refused(path, "its #! line names no interpreter") }
            return .script(interpreter: words)
        }
        if start.prefix(while: { $0 != 10 }).contains(0) {
            throw .refused(path, "it is neither an ELF program nor a script")
        }
        return .text
    }

    /// Privileged programs run in the dynamic linker's secure mode, which ignores LD_PRELOAD (ld.so(8)).
    private func checkPrivileges(_ path: String) throws(LaunchError) {
        let status = try system { () throws(SystemError) in try Files.status(path) }
        if status.permissions & 0o4000 != 0 {
            throw .refused(path, "it is a setuid program, into which no library can be preloaded")
        }
        // Without the group's x bit, setgid is a mark for mandatory locking (fcntl(2)).
        if status.permissions & 0o2010 == 0o2010 {
            throw .refused(path, "it is a setgid program, into which no library can be preloaded")
        }
        if scp_has_capabilities(path) == 1 {
            throw .refused(path, "it has file capabilities (see getcap), so no library can be preloaded into it")
        }
    }

    private func checkELF(_ path: String, _ start: [UInt8]) throws(LaunchError) {
        let program: ELFProgram
        do {
            program = try ELFProgram(start: start) { offset, count throws(SystemError) in
                try Self.bytes(of: path, at: offset, count: count)
            }
        } catch {
            throw .refused(path, "its ELF header is damaged or cut short")
        }
        let identity = program.identity
        guard identity.isOwn else {
            let width = identity.is64Bit ? "64" : "32"
            throw .refused(path, "it is a \(width)-bit program for another architecture (\(identity.machineName))")
        }
        let types = [ELFHeader.FileType.executable, ELFHeader.FileType.shared]
        guard types.contains(identity.type) else { throw .refused(path, "it is an ELF file, but no program") }
        guard let interpreter = program.interpreter else {
            throw .refused(path, "it is statically linked, so no library can be preloaded; link it dynamically")
        }
        guard Files.exists(interpreter) else {
            throw .refused(path, "its dynamic linker \(interpreter) is missing: \(SystemError.reason(errno))")
        }
        if Path.name(interpreter).hasPrefix("ld-musl") {
            throw .refused(path, "it is linked with musl, and SwiftCP's library with glibc")
        }
    }

    /// Follows a `#!` chain, and `env` to the program it will execute. *Source:* execve(2), "Interpreter scripts"; the
    /// kernel follows five levels.
    private func checkInterpreter(_ words: [String], of script: String) throws(LaunchError) {
        var words = words
        for _ in 0..<5 {
            guard let path = words.first else { return }
            let kind: Kind
            do throws(LaunchError) {
                kind = try inspect(try SearchPath(folders: nil).resolve(path.contains("/") ? path : "./" + path))
            } catch {
                throw LaunchError("cannot start the script \(script): its interpreter: \(error.message)")
            }
            if case .script(let next) = kind {
                words = next
            } else if Path.name(path) == "env", let program = Self.programOfEnv(words.dropFirst()) {
                words = [try search.resolve(program)]
            } else {
                return
            }
        }
        throw .refused(script, "its #! lines refer to each other more than five times")
    }

    /// The command among env(1)'s arguments: the first word that is neither an option nor an assignment.
    private static func programOfEnv(_ arguments: ArraySlice<String>) -> String? {
        // The kernel hands over everything after the interpreter as one word; env -S splits it.
        let words = arguments.flatMap { $0.split(separator: " ").map(String.init) }
        return words.first { !$0.hasPrefix("-") && !$0.contains("=") }
    }

    /// The interpreter, and the rest of the line as one argument if there is one.
    static func scriptWords(_ line: String) -> [String] {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        let trimmed = line.drop(while: isBlank)
        let program = trimmed.prefix { !isBlank($0) }
        var argument = trimmed.dropFirst(program.count).drop(while: isBlank)
        while let last = argument.last, isBlank(last) { argument.removeLast() }
        return [String(program), String(argument)].filter { !$0.isEmpty }
    }

    private static func bytes(of path: String, at offset: Int64, count: Int) throws(SystemError) -> [UInt8] {
        let file = try Files.open(path, O_RDONLY)
        var result = [UInt8](repeating: 0, count: count)
        var filled = 0
        var failure: SystemError?
        result.withUnsafeMutableBytes { buffer in
            do throws(SystemError) { filled = try file.read(into: buffer, at: offset, object: path) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return Array(result.prefix(filled))
    }
}
