// Fields of a frame's payload: little-endian integers, and texts NUL-terminated in arrays of fixed size.

/// Writes a payload field by field.
struct PayloadWriter {
    private(set) var bytes: [UInt8] = []

    init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    mutating func integer<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// A text of at most `size - 1` bytes and the NULs up to `size`. Throws when it is longer or holds a NUL.
    mutating func text(_ value: String, size: Int, field: String) throws(WireError) {
        let raw = Array(value.utf8)
        guard raw.count < size else {
            throw WireError(.tooLong, "\(field) is longer than \(size - 1) bytes: \(value.prefix(60))…")
        }
        guard !raw.contains(0) else { throw WireError(.tooLong, "\(field) holds a NUL byte") }
        zeroPadded(raw, size: size)
    }

    /// A text for people: what does not fit is cut off, at a character.
    mutating func message(_ value: String, size: Int) {
        var raw = Array(value.utf8.filter { $0 != 0 })
        if raw.count >= size {
            raw.removeSubrange((size - 1)...)
            while let last = raw.last, last & 0xc0 == 0x80 { raw.removeLast() }
            if let last = raw.last, last >= 0xc0 { raw.removeLast() }
        }
        zeroPadded(raw, size: size)
    }

    /// Words with a NUL after each and one more at the end; words that do not fit are left out, from the last one on.
    mutating func words(_ values: [String], size: Int) {
        var raw: [UInt8] = []
        for value in values {
            let word = Array(value.utf8)
            if raw.count + word.count + 2 > size || word.contains(0) { break }
            raw += word + [0]
        }
        zeroPadded(raw, size: size)
    }

    /// Records of the wire, each as the C struct it is made into lies in memory (little-endian hosts, no padding).
    mutating func records<Element, Record: BitwiseCopyable>(_ values: [Element], _ record: (Element) -> Record) {
        bytes.reserveCapacity(bytes.count + values.count * MemoryLayout<Record>.stride)
        for value in values {
            withUnsafeBytes(of: record(value)) { bytes.append(contentsOf: $0) }
        }
    }

    mutating func zeros(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }

    mutating func raw(_ value: [UInt8]) { bytes.append(contentsOf: value) }

    private mutating func zeroPadded(_ raw: [UInt8], size: Int) {
        bytes.append(contentsOf: raw)
        zeros(size - raw.count)
    }
}

/// Reads a payload field by field; every step checks what is left.
struct PayloadReader {
    private let bytes: ArraySlice<UInt8>
    private var next: Int
    private let what: String

    /// - Parameter what: the message's name, for errors.
    init(_ bytes: ArraySlice<UInt8>, what: String) {
        self.bytes = bytes
        self.what = what
        next = bytes.startIndex
    }

    private mutating func take(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard bytes.endIndex - next >= count else {
            throw WireError(.malformed, "a \(what) message is too short (\(bytes.count) bytes)")
        }
        defer { next += count }
        return bytes[next..<next + count]
    }

    mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(WireError) -> Value {
        var value: Value = 0
        for (index, byte) in try take(MemoryLayout<Value>.size).enumerated() {
            value |= Value(truncatingIfNeeded: byte) << (8 * index)
        }
        return value
    }

    /// A NUL-terminated text in an array of `size` bytes. Bytes that are no UTF-8 come out as replacement characters.
    mutating func text(size: Int) throws(WireError) -> String {
        let raw = try take(size)
        guard let end = raw.firstIndex(of: 0) else {
            throw WireError(.malformed, "a text in a \(what) message has no end")
        }
        return String(decoding: raw[..<end], as: UTF8.self)
    }

    /// Words with a NUL after each, an empty one ends them.
    mutating func words(size: Int) throws(WireError) -> [String] {
        var rest = try take(size)
        var words: [String] = []
        while let end = rest.firstIndex(of: 0), end > rest.startIndex {
            words.append(String(decoding: rest[..<end], as: UTF8.self))
            rest = rest[(end + 1)...]
        }
        guard rest.first == 0 else {
            throw WireError(.malformed, "the words in a \(what) message have no end")
        }
        return words
    }

    /// `count` records, each read as the C struct that lies there. The count is checked against what has come.
    mutating func records<Record: BitwiseCopyable, Element>(
        _ count: UInt32, _ element: (Record) -> Element
    ) throws(WireError) -> [Element] {
        let size = MemoryLayout<Record>.stride
        let raw = try take(Int(count) * size)
        return raw.withUnsafeBytes { buffer in
            (0..<Int(count)).map { element(buffer.loadUnaligned(fromByteOffset: $0 * size, as: Record.self)) }
        }
    }

    mutating func skip(_ count: Int) throws(WireError) { _ = try take(count) }

    mutating func rest() -> ArraySlice<UInt8> {
        defer { next = bytes.endIndex }
        return bytes[next...]
    }

    /// Throws unless everything has been read.
    func finish() throws(WireError) {
        guard next == bytes.endIndex else {
            throw WireError(.malformed, "a \(what) message is too long (\(bytes.count) bytes)")
        }
    }
}
