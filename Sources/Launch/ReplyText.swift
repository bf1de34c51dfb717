/// Reads single members of the coordinator's JSON replies and manifests, without Foundation: it would double the time to start.
enum ReplyText {
    /// The value of a member of the outermost object if it is a string, nil otherwise. Malformed text gives nil.
    static func string(_ key: String, in text: String) -> String? {
        var scanner = Scanner(bytes: Array(text.utf8))
        return scanner.findMember(key) ? scanner.stringValue() : nil
    }

    /// Whether the outermost object has this member and it is `true`.
    static func isTrue(_ key: String, in text: String) -> Bool {
        var scanner = Scanner(bytes: Array(text.utf8))
        return scanner.findMember(key) && scanner.skip(Array("true".utf8))
    }

    private struct Scanner {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        /// Goes to the value of the key: a string directly inside the outermost object that a colon follows.
        mutating func findMember(_ key: String) -> Bool {
            var depth = 0
            while let byte = take() {
                switch byte {
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
                case UInt8(ascii: "\""):
                    guard let name = stringBody() else { return false }
                    if depth == 1, skip([UInt8(ascii: ":")]), name == key { return true }
                default: break
                }
            }
            return false
        }

        mutating func stringValue() -> String? { skip([UInt8(ascii: "\"")]) ? stringBody() : nil }

        private mutating func take() -> UInt8? {
            guard position < bytes.count else { return nil }
            position += 1
            return bytes[position - 1]
        }

        /// Takes white space and then, if they come next, these bytes.
        mutating func skip(_ wanted: [UInt8]) -> Bool {
            while position < bytes.count, [9, 10, 13, 32].contains(bytes[position]) { position += 1 }
            guard bytes[position...].starts(with: wanted) else { return false }
            position += wanted.count
            return true
        }

        /// The rest of a string up to its closing quote; nil when it has none, or a wrong escape.
        private mutating func stringBody() -> String? {
            var result: [UInt8] = []
            while let byte = take() {
                switch byte {
                case UInt8(ascii: "\""): return String(decoding: result, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escaped = escape() else { return nil }
                    result += escaped
                default: result.append(byte)
                }
            }
            return nil
        }

        private mutating func escape() -> [UInt8]? {
            guard let letter = take() else { return nil }
            switch letter {
            case UInt8(ascii: "n"): return [10]
            case UInt8(ascii: "t"): return [9]
            case UInt8(ascii: "r"): return [13]
            case UInt8(ascii: "b"): return [8]
            case UInt8(ascii: "f"): return [12]
            case UInt8(ascii: "u"):
                guard position + 4 <= bytes.count else { return nil }
                let digits = String(decoding: bytes[position..<position + 4], as: UTF8.self)
                position += 4
                guard let number = UInt32(digits, radix: 16) else { return nil }
                // Half of a surrogate pair alone becomes the replacement character.
                return Array(String(Unicode.Scalar(number).map(Character.init) ?? "\u{fffd}").utf8)
            default: return [letter]
            }
        }
    }
}
