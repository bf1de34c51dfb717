import CRestart
import Options
import SystemCalls

/// A `swiftcp_restart` command line.
public struct RestartOptions: Sendable {
    enum Mode: String, Sendable { case auto, lazy, eager }
    enum KeepPids: String, Sendable { case require, prefer, never }
    struct PathMap: Equatable, Sendable {
        let from: String
        let to: String
    }

    let parsed: Parsed
    let report: Reporter
    let mode: Mode
    let keepPids: KeepPids
    let maps: [PathMap]

    public init(_ parsed: Parsed) throws(RestartError) {
        self.parsed = parsed
        report = Reporter(command: "swiftcp_restart", quietness: parsed.quietness)
        mode = parsed.value("restore").flatMap(Mode.init) ?? .auto
        keepPids = parsed.value("keep-pids").flatMap(KeepPids.init) ?? .prefer
        maps = try Self.pathMaps(parsed.values("map"))
    }

    private static func pathMaps(_ texts: [String]) throws(RestartError) -> [PathMap] {
        var maps: [PathMap] = []
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, parts[0].hasPrefix("/"), parts[1].hasPrefix("/") else {
                throw RestartError(
                    "--map: '\(text)' is not OLD=NEW with two absolute paths", status: ExitStatus.usage)
            }
            maps.append(PathMap(from: trimmed(parts[0]), to: trimmed(parts[1])))
        }
        return maps
    }

    private static func trimmed(_ path: String) -> String {
        path.utf8.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }

    var background: Bool { parsed.flag("background") }
    var verifyOnly: Bool { parsed.flag("verify-only") }

    var files: crestart_files { parsed.value("files") == "keep" ? CRESTART_FILES_KEEP : CRESTART_FILES_REWIND }
    var terminal: crestart_terminal {
        switch parsed.value("tty") {
        case "keep": CRESTART_TERMINAL_KEEP
        case "none": CRESTART_TERMINAL_NONE
        default: CRESTART_TERMINAL_CURRENT
        }
    }

    /// Where to look for `path`, under `--map`: the first rule that fits.
    func mapped(_ path: [UInt8]) -> [UInt8] {
        for map in maps {
            let from = Array(map.from.utf8)
            guard path.starts(with: from) else { continue }
            let rest = path.dropFirst(from.count)
            if from == [UInt8(ascii: "/")] { return Array(map.to.utf8) + path }
            if rest.isEmpty || rest.first == UInt8(ascii: "/") { return Array(map.to.utf8) + rest }
        }
        return path
    }
}
