import CSwiftCP
import Formats
import FoundationEssentials

/// What `swiftcp_image info` tells of one image. Sizes are bytes; JSON keys are in snake case.
public struct ImageInfo: Encodable, Equatable, Sendable {
    public struct Thread: Encodable, Equatable, Sendable {
        public let tid: UInt32
        public let name: String
        /// Number of the system call it was in; nil when it was computing.
        public let systemCall: UInt32?
    }

    public struct Descriptor: Encodable, Equatable, Sendable {
        public let number: Int32
        /// "file", "pipe", "eventfd" …
        public let kind: String
        /// Of a file or folder; "" otherwise.
        public let path: String
        /// Offset in a regular file; nil for what has none.
        public let position: Int64?
        public let closeOnExec: Bool
        /// The image holds its content.
        public let saved: Bool
    }

    public struct Memory: Encodable, Equatable, Sendable {
        public let regions: Int
        /// Bytes of address space in those regions.
        public let mapped: UInt64
        public let blocks: Int
        /// Bytes of memory in the image.
        public let stored: UInt64
        /// Bytes of memory that earlier images hold.
        public let inherited: UInt64
    }

    /// An earlier image that it needs.
    public struct Need: Encodable, Equatable, Sendable {
        public let generation: UInt32
        public let image: String
        /// Bytes of memory that it holds for this one.
        public let bytes: UInt64
    }

    /// How blocks are compressed.
    public struct Compression: Encodable, Equatable, Sendable {
        /// How many chunks are of each encoding: "raw", "lz4", "zstd".
        public let chunks: [String: Int]
        /// Bytes before, and in the file.
        public let content: UInt64
        public let stored: UInt64
        /// The first by the second.
        public let ratio: Double
    }

    public let path: String
    /// Length of the file.
    public let bytes: UInt64
    public let formatVersion: UInt32
    public let machine: String
    public let computation: String
    public let generation: UInt32
    /// ISO 8601, UTC.
    public let createdAt: String
    public let host: String
    public let kernel: String
    public let libc: String
    public let metadataChecksum: String
    public let pid: UInt32
    public let parentPid: UInt32
    public let user: UInt32
    public let name: String
    public let command: [String]
    public let executable: String
    public let directory: String
    /// Path of the controlling terminal; "" = none.
    public let terminal: String
    /// The program's own, without the checkpoint thread.
    public let threads: [Thread]
    public let memory: Memory
    public let incremental: Bool
    /// Empty when it stands alone.
    public let needs: [Need]
    /// Nil when it is not compressed.
    public let compression: Compression?
    public let descriptors: [Descriptor]
    /// Signals that were waiting to be delivered.
    public let pendingSignals: Int
    public let timers: Int
    public let locks: Int

    public init(_ image: Image) throws(ImageError) {
        let (header, process) = (image.header, image.process)
        path = image.path
        bytes = image.file.size
        formatVersion = header.format_version
        machine = ELFHeader.Machine.name(UInt16(truncatingIfNeeded: header.machine))
        computation = image.string(header.computation)
        generation = header.generation
        createdAt = iso8601(nanoseconds: header.created_realtime)
        host = image.string(header.host_name)
        kernel = image.string(header.kernel_release)
        libc = image.string(header.libc_version)
        metadataChecksum = hexadecimal16(header.metadata_checksum)
        (pid, parentPid, user) = (process.pid, process.ppid, process.uid)
        name = image.string(process.command)
        // They may stand in an image that is missing.
        command = image.needs.count == image.ancestors.count ? try image.arguments() : []
        executable = image.string(process.executable)
        directory = image.string(process.directory)
        terminal = image.string(process.terminal)
        threads = image.threads.filter { !$0.isCheckpointThread }.map(Thread.init)
        memory = Memory(
            regions: image.regions.count, mapped: image.regions.reduce(0) { $0 + ($1.end - $1.start) },
            blocks: image.blocks.count,
            stored: image.blocks.reduce(0) { $0 + ($1.isOwn ? $1.stored_length : 0) },
            inherited: image.inheritedBytes().reduce(0, +))
        incremental = image.isIncremental
        needs = zip(image.needs, image.inheritedBytes()).map { need, bytes in
            Need(generation: need.generation, image: image.path(of: need), bytes: bytes)
        }
        compression = image.isCompressed ? Compression(image.chunks) : nil
        descriptors = image.descriptors.map { Descriptor($0, in: image) }
        pendingSignals = image.pending.count
        timers = image.timers.count
        locks = image.locks.count
    }

    enum CodingKeys: String, CodingKey {
        case path, bytes
        case formatVersion = "format_version"
        case machine, computation, generation
        case createdAt = "created_at"
        case host, kernel, libc
        case metadataChecksum = "metadata_checksum"
        case pid
        case parentPid = "parent_pid"
        case user, name, command, executable, directory, terminal, threads, memory, incremental, needs, compression
        case descriptors
        case pendingSignals = "pending_signals"
        case timers, locks
    }
}

extension ImageInfo.Compression {
    init(_ chunks: [scp_chunk]) {
        let names = [SCP_CHUNK_RAW.rawValue: "raw", SCP_CHUNK_LZ4.rawValue: "lz4", SCP_CHUNK_ZSTD.rawValue: "zstd"]
        self.chunks = Dictionary(grouping: chunks) { names[$0.encoding] ?? "unknown" }.mapValues(\.count)
        content = chunks.reduce(0) { $0 + $1.length }
        stored = chunks.reduce(0) { $0 + $1.stored_length }
        ratio = (Double(content) / Double(max(stored, 1)) * 100).rounded() / 100
    }

    /// "zstd, 3.2 times smaller (81.0 MiB instead of 259.2 MiB)"
    var text: String {
        let names = chunks.keys.sorted().filter { $0 != "raw" }.joined(separator: ", ")
        let counts = chunks.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        return "\(names.isEmpty ? "none" : names): \(readable(stored)) for \(readable(content)), ratio \(ratio);"
            + " chunks: \(counts)"
    }
}

extension ImageInfo.Thread {
    init(_ thread: scp_thread) {
        tid = thread.tid
        name = thread.text
        systemCall = thread.system_call == .max ? nil : thread.system_call
    }

    enum CodingKeys: String, CodingKey {
        case tid, name
        case systemCall = "system_call"
    }
}

extension ImageInfo.Descriptor {
    init(_ descriptor: scp_descriptor, in image: Image) {
        let object = image.objects[Int(descriptor.object)]
        number = descriptor.number
        kind = Self.name(ofKind: object.kind)
        path = image.string(object.path)
        position = object.kind == SCP_OBJECT_FILE.rawValue ? object.position : nil
        closeOnExec = descriptor.close_on_exec != 0
        saved = object.blob != SCP_NO_BLOB
    }

    enum CodingKeys: String, CodingKey {
        case number, kind, path, position
        case closeOnExec = "close_on_exec"
        case saved
    }

    static func name(ofKind kind: UInt32) -> String {
        switch scp_object_kind(rawValue: kind) {
        case SCP_OBJECT_FILE: "file"
        case SCP_OBJECT_DIRECTORY: "directory"
        case SCP_OBJECT_DEVICE: "device"
        case SCP_OBJECT_TERMINAL: "terminal"
        case SCP_OBJECT_PIPE: "pipe"
        case SCP_OBJECT_FIFO: "fifo"
        case SCP_OBJECT_SOCKET_PAIR: "socket pair"
        case SCP_OBJECT_SOCKET: "socket"
        case SCP_OBJECT_EVENTFD: "eventfd"
        case SCP_OBJECT_EPOLL: "epoll"
        case SCP_OBJECT_TIMERFD: "timerfd"
        case SCP_OBJECT_SIGNALFD: "signalfd"
        case SCP_OBJECT_INOTIFY: "inotify"
        case SCP_OBJECT_MEMFD: "memfd"
        case SCP_OBJECT_PIDFD: "pidfd"
        case SCP_OBJECT_OUTSIDE: "outside"
        case SCP_OBJECT_PATH: "path"
        case SCP_OBJECT_TERMINAL_MASTER: "terminal master"
        case SCP_OBJECT_MESSAGE_QUEUE: "message queue"
        default: "kind \(kind)"
        }
    }
}

/// A time since the epoch as ISO 8601 in UTC, whole seconds. What is beyond the year 9999 is shown as a number.
func iso8601(nanoseconds: UInt64) -> String {
    let seconds = nanoseconds / 1_000_000_000
    guard seconds < 253_402_300_800 else { return "\(seconds) s" }
    return Date(timeIntervalSince1970: Double(seconds)).ISO8601Format()
}
