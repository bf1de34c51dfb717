/// Why an image, a manifest or a checkpoint folder cannot be used: one sentence about one object.
///
/// Thrown by everything in this module. Commands print `description` behind their name and end with `exitStatus`.
public struct ImageError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// Nothing is there, or nothing complete.
        case missing
        /// It is no checkpoint image at all.
        case notAnImage
        /// An image of another format version than this build reads.
        case otherVersion
        /// It contradicts itself, a checksum, or the end of the file.
        case damaged
        /// The operating system refused to read or write it (permission, input/output error).
        case system
    }

    /// Behind a pointer, so that the error is returned in a register.
    private let facts: Facts

    private final class Facts: Equatable, Sendable {
        let kind: Kind
        let path: String
        let text: String

        init(_ kind: Kind, _ path: String, _ text: String) {
            (self.kind, self.path, self.text) = (kind, path, text)
        }

        static func == (left: Facts, right: Facts) -> Bool {
            (left.kind, left.path, left.text) == (right.kind, right.path, right.text)
        }
    }

    public init(_ kind: Kind, _ path: String, _ text: String) { facts = Facts(kind, path, text) }

    public var kind: Kind { facts.kind }
    /// The file or folder the sentence is about.
    public var path: String { facts.path }
    /// What is wrong, without the path and without a final full stop.
    public var text: String { facts.text }

    /// The whole sentence: `PATH: what is wrong; what to do`.
    public var description: String {
        kind == .damaged ? "\(path): damaged: \(text); use another generation or a copy" : "\(path): \(text)"
    }

    /// The exit status of the contract: 4 when the image is at fault, 1 when the system refused.
    public var exitStatus: Int32 { kind == .system ? 1 : 4 }
}
