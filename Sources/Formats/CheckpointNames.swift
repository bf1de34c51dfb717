/// Names of what a checkpoint leaves on disk:
///
///     CKPTDIR/ckpt_NAME_ID/                one computation
///             |-- gen-000001/              one generation
///             |   |-- NAME_PID.swiftcp     one process
///             |   `-- manifest.json        written last: the generation is complete
///             |-- .gen-000002.partial/     a generation that is being made, or was cut short
///             `-- latest -> gen-000001     the newest complete one
public enum CheckpointNames {
    public static let manifest = "manifest.json"
    public static let latest = "latest"
    public static let imageSuffix = ".swiftcp"
    public static let computationPrefix = "ckpt_"
    public static let generationPrefix = "gen-"
    /// What a generation has added of the pages of mapped files (`SCP_FILE_PAGES_NAME`).
    public static let filePages = "file-pages"

    /// `ckpt_NAME_ID`.
    public static func computation(name: String, id: String) -> String {
        computationPrefix + fileSafe(name) + "_" + fileSafe(id)
    }

    /// `gen-000001`: at least six digits.
    public static func generation(_ number: UInt32) -> String {
        let digits = String(number)
        return generationPrefix + String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits
    }

    /// The folder a generation is assembled in before it is renamed; never listed as a generation.
    public static func partialGeneration(_ number: UInt32) -> String { "." + generation(number) + ".partial" }

    /// The number in `gen-000001`; nil for every other name.
    public static func generationNumber(_ name: String) -> UInt32? {
        guard name.hasPrefix(generationPrefix), let number = UInt32(name.dropFirst(generationPrefix.utf8.count)),
            number > 0, generation(number) == name
        else { return nil }
        return number
    }

    /// True for `.gen-000001.partial`.
    public static func isPartialGeneration(_ name: String) -> Bool {
        guard name.hasPrefix("."), name.hasSuffix(".partial") else { return false }
        return generationNumber(String(name.dropFirst(1).dropLast(8))) != nil
    }

    /// `file-pages-000001`: in a later generation, a link to what generation 1 has added.
    public static func earlierFilePages(_ number: UInt32) -> String {
        filePages + "-" + generation(number).dropFirst(generationPrefix.utf8.count)
    }

    /// The number in `file-pages-000001`; nil for every other name.
    public static func earlierFilePagesNumber(_ name: String) -> UInt32? {
        guard name.hasPrefix(filePages + "-"),
            let number = generationNumber(generationPrefix + name.dropFirst(filePages.utf8.count + 1))
        else { return nil }
        return number
    }

    /// True for both.
    public static func isFilePages(_ name: String) -> Bool {
        name == filePages || earlierFilePagesNumber(name) != nil
    }

    /// `text` as a part of a file name: letters, digits and `._+-` stay, every other byte becomes `_`; never empty,
    /// never with a dot in front, at most 64 bytes.
    public static func fileSafe(_ text: String) -> String {
        let bytes = text.utf8.prefix(64).map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "-"):
                byte
            default: UInt8(ascii: "_")
            }
        }
        let name = String(decoding: bytes, as: UTF8.self)
        if name.isEmpty { return "program" }
        return name.hasPrefix(".") ? "_" + name.dropFirst() : name
    }
}

/// The file name of one process's image: `NAME_PID.swiftcp`.
public struct ImageName: Equatable, Sendable {
    public let name: String
    public let pid: UInt32

    public init(name: String, pid: UInt32) {
        self.name = CheckpointNames.fileSafe(name)
        self.pid = pid
    }

    /// Parses a file name; nil when it is not of this form (so never anything with a slash in it).
    public init?(_ fileName: String) {
        guard fileName.hasSuffix(CheckpointNames.imageSuffix) else { return nil }
        let stem = fileName.dropLast(CheckpointNames.imageSuffix.utf8.count)
        guard let bar = stem.lastIndex(of: "_"), let pid = UInt32(stem[stem.index(after: bar)...]), pid > 0 else {
            return nil
        }
        self.init(name: String(stem[..<bar]), pid: pid)
        guard self.fileName == fileName else { return nil }
    }

    public var fileName: String { "\(name)_\(pid)\(CheckpointNames.imageSuffix)" }
}
