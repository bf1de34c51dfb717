import FoundationEssentials

/// The one JSON object that a command with `--json` writes to stdout: `schema_version`, `command`, `status`, and what
/// the command has to say.
public struct Reply<Content: Encodable>: Encodable {
    private let command: String
    private let error: String?
    private let content: Content?

    private init(command: String, content: Content?, error: String?) {
        (self.command, self.content, self.error) = (command, content, error)
    }

    /// `content` must encode to an object; its keys stand beside the three.
    public static func done(_ command: String, _ content: Content) -> Reply {
        Reply(command: command, content: content, error: nil)
    }

    public static func failed(_ command: String, _ error: String, _ content: Content? = nil) -> Reply {
        Reply(command: command, content: content, error: error)
    }

    private enum Key: String, CodingKey {
        case schema = "schema_version"
        case command, status, error
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(1, forKey: .schema)
        try values.encode(command, forKey: .command)
        try values.encode(error == nil ? "ok" : "error", forKey: .status)
        try values.encodeIfPresent(error, forKey: .error)
        try content?.encode(to: encoder)
    }

    /// Indented JSON with a final newline.
    public func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try String(decoding: encoder.encode(self), as: UTF8.self) + "\n"
    }
}

/// A reply that says nothing beyond its status.
public struct NoContent: Encodable {
    public init() {}
    public func encode(to encoder: any Encoder) throws {}
}
