import CSwiftCP
import Glibc

/// The environment a program is started with: this one, byte for byte, but for our own variables.
struct ProgramEnvironment {
    /// What the shim is told (swiftcp_protocol.h, SCP_ENV_*).
    struct Settings: Equatable {
        var coordinator: String
        var computation: String
        var checkpointDirectory: String
        /// Number of the quiesce signal.
        var signal: Int32
        /// Signals that mean checkpoint, then end; empty without `--auto`.
        var autoSignals: [Int32]
        /// What stands at 0, 1 and 2 (`SCP_ENV_STREAMS`).
        var streams: String

        var variables: [(name: String, value: String?)] {
            [
                (SCP_ENV_COORDINATOR, coordinator), (SCP_ENV_COMPUTATION, computation),
                (SCP_ENV_CKPTDIR, checkpointDirectory), (SCP_ENV_SIGNAL, String(signal)),
                (SCP_ENV_AUTO, autoSignals.isEmpty ? nil : autoSignals.map(String.init).joined(separator: ",")),
                (SCP_ENV_STREAMS, streams), (SCP_ENV_SURROUNDINGS, SCP_SURROUNDINGS_UNKNOWN),
            ]
        }

        /// Of this process, which hands its own streams to the program.
        static func ownStreams() -> String {
            (0...2 as ClosedRange<Int32>).map { number in
                var status = scp_stat()
                return scp_fstat(number, &status) == 0 ? "\(status.device):\(status.inode)" : "0:0"
            }.joined(separator: ",")
        }
    }

    /// `NAME=VALUE` entries without their NUL.
    private(set) var entries: [[UInt8]]

    init(entries: [[UInt8]]) { self.entries = entries }

    /// Of this process.
    static func inherited() -> ProgramEnvironment {
        var entries: [[UInt8]] = []
        guard var cursor = scp_environment() else { return ProgramEnvironment(entries: []) }
        while let entry = cursor.pointee {
            entries.append(Array(UnsafeRawBufferPointer(start: entry, count: strlen(entry))))
            cursor += 1
        }
        return ProgramEnvironment(entries: entries)
    }

    func value(_ name: String) -> String? {
        let prefix = Array((name + "=").utf8)
        return entries.first { $0.starts(with: prefix) }.map { String(decoding: $0[prefix.count...], as: UTF8.self) }
    }

    /// Sets or, with nil, removes a variable. The place of an existing one is kept.
    mutating func set(_ name: String, _ value: String?) {
        let prefix = Array((name + "=").utf8)
        let place = entries.firstIndex { $0.starts(with: prefix) } ?? entries.count
        entries.removeAll { $0.starts(with: prefix) }
        if let value { entries.insert(prefix + Array(value.utf8), at: min(place, entries.count)) }
    }

    /// Puts the shim in front of what is preloaded already, once, and tells it its settings.
    mutating func apply(_ settings: Settings, shim: String) {
        set("LD_PRELOAD", [shim, preloadsWithoutShim].compactMap(\.self).joined(separator: ":"))
        for (name, value) in settings.variables { set(name, value) }
    }

    /// LD_PRELOAD without our library; nil when nothing else is in it. *Source:* ld.so(8) for the separators.
    var preloadsWithoutShim: String? {
        let others = (value("LD_PRELOAD") ?? "").split { $0 == ":" || $0 == " " }
            .filter { $0 != "libswiftcp.so" && !$0.hasSuffix("/libswiftcp.so") }
        return others.isEmpty ? nil : others.joined(separator: ":")
    }

    /// Calls the body with the NULL-terminated array that execve(2) wants.
    func withPointers<Value>(_ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Value) -> Value {
        withWords(entries, body)
    }
}

/// Lends words as a NULL-terminated array of C strings.
func withWords<Value>(_ words: [[UInt8]], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Value) -> Value {
    var bytes: [CChar] = []
    var starts: [Int] = []
    for word in words {
        starts.append(bytes.count)
        bytes += word.map { CChar(bitPattern: $0) } + [0]
    }
    return bytes.withUnsafeBufferPointer { buffer in
        let pointers: [UnsafePointer<CChar>?] = starts.map { start in buffer.baseAddress.map { $0 + start } } + [nil]
        return pointers.withUnsafeBufferPointer { list in
            // The list holds at least its NULL, so there is an address.
            guard let address = list.baseAddress else { preconditionFailure("an array of pointers without address") }
            return body(address)
        }
    }
}

/// The words of the command line from the program's name on, byte for byte (`CommandLine.arguments` repairs what is not
/// UTF-8).
func commandWords(last count: Int) -> [[UInt8]] {
    let total = Int(CommandLine.argc)
    return (total - count..<total).compactMap { index in
        CommandLine.unsafeArgv[index].map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) }
    }
}
