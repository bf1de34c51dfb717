import FoundationEssentials
import Glibc
import SystemCalls
import Wire

extension CommandReply {
    /// One line of JSON without a newline.
    public func json() -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else {
            // Only a number that is none can make it fail.
            return #"{"schema_version":1,"command":"unknown","status":"error","error":"the answer cannot be written"}"#
        }
        return String(decoding: data, as: UTF8.self)
    }
}

extension Coordinator {
    /// The state of everything, as `--status --json` has it; what /proc knows is left open.
    public func status() -> CommandReply { statusReply(.status, living.map(\.id)) }
}

/// What happens, line by line, to the user and to the log file.
final class Journal {
    private let file: OwnedDescriptor?
    private let path: String
    private let note: (String) -> Void

    init(file path: String?, note: @escaping (String) -> Void) throws(CoordinatorError) {
        self.note = note
        self.path = path ?? ""
        do throws(SystemError) {
            if let path {
                file = try Files.open(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
            } else {
                file = nil
            }
        } catch { throw CoordinatorError(error) }
    }

    /// A full disk must not stop the coordinator: a line that cannot be written is lost.
    func write(_ text: String) {
        note(text)
        if file != nil {
            let line = Array("\(Moment.now.text) \(text)\n".utf8)
            try? file?.write(line, object: path)
        }
    }
}

/// The file of `--status-file`: always whole, replaced by rename, written at most twice a second.
struct StatusFile {
    private let path: String
    private var written: UInt64?
    private var notBefore = Instant(nanoseconds: 0)
    private var pending = false

    init(_ path: String) { self.path = path }

    /// When it has to be looked at again.
    var due: Instant? { pending ? notBefore : nil }

    mutating func isDue(revision: UInt64) -> Bool {
        guard revision != written else { return false }
        pending = notBefore > .now
        if !pending { written = revision }
        return !pending
    }

    /// A sentence when it cannot be written.
    mutating func write(_ reply: CommandReply) -> String? {
        notBefore = Instant.now.advanced(seconds: 0.5)
        do throws(SystemError) {
            try Files.write(Array((reply.json() + "\n").utf8), to: path + ".tmp", mode: 0o600)
            try Files.rename(path + ".tmp", to: path)
            return nil
        } catch { return "\(error)" }
    }

    func remove() { try? Files.unlink(path) }
}
