import CSwiftCP
import Formats
import FoundationEssentials

/// What `manifest.json` says about one generation. A generation is complete if and only if its manifest is there:
/// the coordinator writes it last.
///
/// Keys in the file are in snake case; times are milliseconds, sizes are bytes.
public struct Manifest: Codable, Equatable, Sendable {
    /// Version of this file's own layout.
    public static let currentSchema = 1
    /// Bytes; a longer file is refused.
    static let maximumLength = 64 << 20

    public struct Computation: Codable, Equatable, Sendable {
        public var id: String
        /// Name of its first program.
        public var name: String
        /// The words that started it; empty when unknown.
        public var command: [String]
        /// Working directory it was started in.
        public var directory: String

        public init(id: String, name: String, command: [String], directory: String) {
            self.id = id
            self.name = name
            self.command = command
            self.directory = directory
        }
    }

    public struct Process: Codable, Equatable, Sendable {
        /// As the program sees itself.
        public var pid: UInt32
        /// Its parent, likewise; nil when unknown.
        public var parent: UInt32?
        public var name: String
        /// File name of the image, inside the generation's folder.
        public var image: String
        /// Bytes written.
        public var bytes: UInt64
        /// `scp_image_header.metadata_checksum`; 16 hexadecimal digits in the file.
        public var metadataChecksum: UInt64
        /// nil when unknown.
        public var threads: UInt32?

        public init(
            pid: UInt32, parent: UInt32? = nil, name: String, image: String, bytes: UInt64, metadataChecksum: UInt64,
            threads: UInt32? = nil
        ) {
            self.pid = pid
            self.parent = parent
            self.threads = threads
            self.name = name
            self.image = image
            self.bytes = bytes
            self.metadataChecksum = metadataChecksum
        }
    }

    public var schemaVersion: Int
    /// `SCP_FORMAT_VERSION` of the images.
    public var formatVersion: UInt32
    public var computation: Computation
    public var generation: UInt32
    /// ISO 8601, UTC.
    public var createdAt: String
    public var host: String
    /// Kernel release.
    public var kernel: String
    /// How the instant was taken: "stop", "cow" or "precopy".
    public var snapshot: String
    /// Why; nil when unknown.
    public var snapshotReason: String?
    /// True when the images need older generations.
    public var incremental: Bool
    /// Numbers of those, ascending; nil = none. What they need themselves is not among them.
    public var needs: [UInt32]?
    /// Names of the files beside the images with what these have of mapped files; nil = none.
    public var filePages: [String]?
    /// The longest that any process's threads stood still.
    public var pauseMs: Double
    public var durationMs: Double
    public var bytesWritten: UInt64
    /// Sorted by pid.
    public var processes: [Process]
    /// The process that swiftcp_launch started; nil when it has ended, or is not known.
    public var root: UInt32?
    /// True when the processes were ended by the checkpoint (`--kcheckpoint`, a signal under `--auto`); else nil.
    public var endsProcesses: Bool?

    public init(
        computation: Computation, generation: UInt32, createdAt: String, host: String, kernel: String,
        snapshot: String, needs: [UInt32] = [], pauseMs: Double, durationMs: Double, bytesWritten: UInt64,
        processes: [Process], root: UInt32? = nil
    ) {
        schemaVersion = Self.currentSchema
        formatVersion = SCP_FORMAT_VERSION
        self.computation = computation
        self.generation = generation
        self.createdAt = createdAt
        self.host = host
        self.kernel = kernel
        self.snapshot = snapshot
        incremental = !needs.isEmpty
        self.needs = needs.isEmpty ? nil : needs
        self.pauseMs = pauseMs
        self.durationMs = durationMs
        self.bytesWritten = bytesWritten
        self.processes = processes
        self.root = root
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case formatVersion = "format_version"
        case computation, generation
        case createdAt = "created_at"
        case host, kernel, snapshot, incremental, needs
        case filePages = "file_pages"
        case pauseMs = "pause_ms"
        case durationMs = "duration_ms"
        case bytesWritten = "bytes_written"
        case processes, root
        case snapshotReason = "snapshot_reason"
        case endsProcesses = "ends_processes"
    }
}

extension Manifest.Process {
    enum CodingKeys: String, CodingKey {
        case pid, name, image, bytes, threads
        case parent = "ppid"
        case metadataChecksum = "metadata_checksum"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        pid = try values.decode(UInt32.self, forKey: .pid)
        name = try values.decode(String.self, forKey: .name)
        image = try values.decode(String.self, forKey: .image)
        bytes = try values.decode(UInt64.self, forKey: .bytes)
        let digits = try values.decode(String.self, forKey: .metadataChecksum)
        guard digits.utf8.count == 16, let checksum = UInt64(digits, radix: 16) else {
            throw DecodingError.dataCorruptedError(
                forKey: .metadataChecksum, in: values, debugDescription: "not 16 hexadecimal digits")
        }
        metadataChecksum = checksum
        parent = try values.decodeIfPresent(UInt32.self, forKey: .parent)
        threads = try values.decodeIfPresent(UInt32.self, forKey: .threads)
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(pid, forKey: .pid)
        try values.encode(name, forKey: .name)
        try values.encode(image, forKey: .image)
        try values.encode(bytes, forKey: .bytes)
        try values.encode(hexadecimal16(metadataChecksum), forKey: .metadataChecksum)
        try values.encodeIfPresent(parent, forKey: .parent)
        try values.encodeIfPresent(threads, forKey: .threads)
    }
}

/// `value` as 16 lower-case hexadecimal digits.
func hexadecimal16(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
}

// MARK: - To and from bytes

extension Manifest {
    /// The file's content: indented JSON with sorted keys and a final newline.
    ///
    /// Throws only when a value cannot be written as JSON (a time that is no number).
    public func encoded(for path: String = "manifest.json") throws(ImageError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return try [UInt8](encoder.encode(self)) + [UInt8(ascii: "\n")]
        } catch {
            throw ImageError(.system, path, "the manifest cannot be written as JSON (\(error))")
        }
    }

    /// Reads and checks a manifest. `path` is for messages alone.
    ///
    /// The bytes are untrusted: every process's image must be a plain file name, pids must not repeat, and the
    /// versions must be those that this build reads.
    public static func decode(_ bytes: [UInt8], path: String) throws(ImageError) -> Manifest {
        guard bytes.count <= maximumLength else {
            throw ImageError(.damaged, path, "longer than \(maximumLength) bytes")
        }
        let data = Data(bytes)
        let manifest: Manifest
        do {
            manifest = try JSONDecoder().decode(Manifest.self, from: data)
        } catch {
            // Another version may lack any of the other keys.
            if let versions = try? JSONDecoder().decode(Versions.self, from: data) { try versions.check(path: path) }
            throw ImageError(.damaged, path, "\(reason(of: error))")
        }
        try Versions(schema_version: manifest.schemaVersion, format_version: manifest.formatVersion).check(path: path)
        try manifest.check(path: path)
        return manifest
    }

    private struct Versions: Decodable {
        let schema_version: Int
        let format_version: UInt32

        func check(path: String) throws(ImageError) {
            guard schema_version != currentSchema || format_version != SCP_FORMAT_VERSION else { return }
            throw ImageError(
                .otherVersion, path,
                "made by another version of SwiftCP (manifest \(schema_version), image format "
                    + "\(format_version); this one reads \(currentSchema) and \(SCP_FORMAT_VERSION))")
        }
    }

    private func check(path: String) throws(ImageError) {
        func damaged(_ what: String) -> ImageError { ImageError(.damaged, path, what) }
        guard !processes.isEmpty else { throw damaged("it names no process") }
        var pids = Set<UInt32>()
        var images = Set<String>()
        for process in processes {
            guard ImageName(process.image) != nil else {
                throw damaged("\"\(printable(process.image))\" is not the name of an image")
            }
            guard pids.insert(process.pid).inserted else { throw damaged("process \(process.pid) stands there twice") }
            guard images.insert(process.image).inserted else {
                throw damaged("image \(process.image) stands there twice")
            }
        }
        let needed = needs ?? []
        guard needed.isEmpty != incremental, zip(needed, needed.dropFirst()).allSatisfy({ $0 < $1 }),
            needed.allSatisfy({ $0 > 0 && $0 < generation })
        else { throw damaged("the generations that it needs are impossible") }
        if let root, !pids.contains(root) { throw damaged("its root, process \(root), is none of its processes") }
    }
}

/// The short reason in a decoding error, without Swift's type names.
private func reason(of error: any Error) -> String {
    func place(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
        return "\"\(place(context.codingPath + [key]))\" is missing"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
        return "\"\(place(context.codingPath))\" is of another type"
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
        return "\"\(place(context.codingPath))\" cannot be read (\(context.debugDescription))"
    default:
        return "it is not JSON"
    }
}

/// `text` with control characters replaced, cut to a length that suits a message.
func printable(_ text: String) -> String {
    let characters = text.unicodeScalars.prefix(200).map { scalar -> String in
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? "?" : String(scalar)
    }
    return characters.joined() + (text.unicodeScalars.count > 200 ? "…" : "")
}
