import CSwiftCP
import Glibc

/// What memory of two images differs. Pages that an image does not hold count as zeros.
public struct Difference: Encodable, Equatable, Sendable {
    /// A stretch of pages, all of which differ; hexadecimal digits without a prefix, end exclusive.
    public struct Stretch: Encodable, Equatable, Sendable {
        public let start: String
        public let end: String
        public let pages: UInt64
    }

    /// A part of the address space that is one region in both, or in one of them.
    public struct Part: Encodable, Equatable, Sendable {
        public enum Change: String, Encodable, Sendable {
            /// Only the second image has it, or only the first.
            case added, removed
            /// Both have it, as another kind of memory, with other permissions, or of another file.
            case remapped
            /// The same memory, with other content.
            case content
        }
        public let start: String
        public let end: String
        public let change: Change
        /// As /proc/PID/maps has them; of the second image, unless only the first has it.
        public let permissions: String
        public let path: String
        /// Pages whose content differs; of one that only one image has: those with content.
        public let pages: UInt64
        /// In ascending order.
        public let stretches: [Stretch]
    }

    public let first: String
    public let second: String
    public let differs: Bool
    /// Of all parts.
    public let pages: UInt64
    public let bytes: UInt64
    public let regions: [Part]

    /// Compares all of memory. Reads what the two do not have from the same place of the same file.
    public init(_ first: Image, _ second: Image) throws(ImageError) {
        let comparison = try Comparison(first, second)
        (self.first, self.second, regions) = (first.path, second.path, comparison.parts)
        pages = regions.reduce(0) { $0 + $1.pages }
        bytes = pages * UInt64(SCP_DATA_OFFSET)
        differs = !regions.isEmpty
    }

    /// A line for each part, its first stretches, and a sum.
    public var text: String {
        var lines: [String] = []
        for part in regions {
            let name = part.path.isEmpty ? "" : "  " + printable(part.path)
            lines.append(
                "\(part.start)-\(part.end) \(part.permissions) \(part.change.rawValue), \(part.pages) pages\(name)")
            lines += part.stretches.prefix(Self.listed).map { "    \($0.start)-\($0.end) \($0.pages) pages" }
            if part.stretches.count > Self.listed {
                lines.append("    … and \(part.stretches.count - Self.listed) more stretches")
            }
        }
        let sum = "\(pages) pages (\(readable(bytes))) in \(regions.count) regions differ"
        return (lines + [differs ? sum : "no page differs"]).joined(separator: "\n") + "\n"
    }

    private static let listed = 8
}

/// The walk over both address spaces.
private struct Comparison {
    private(set) var parts: [Difference.Part] = []
    private let images: [Image]
    private let readers: [ContentReader]
    private let scratch = [Scratch(), Scratch()]
    /// Of each image: the block that the walk is at.
    private var cursors = [0, 0]

    init(_ first: Image, _ second: Image) throws(ImageError) {
        images = [first, second]
        readers = images.map { ContentReader($0) }
        var numbers = [0, 0]
        var position: UInt64 = 0
        while let (start, end) = Self.next(after: position, images, &numbers) {
            let here = (0...1).map { Self.covers(images[$0], numbers[$0], start) ? numbers[$0] : nil }
            try add(start, end, here)
            position = end
        }
    }

    /// The next stretch of addresses over which both images have one region or none, and one of them has one.
    private static func next(
        after position: UInt64, _ images: [Image], _ numbers: inout [Int]
    ) -> (start: UInt64, end: UInt64)? {
        for side in 0...1 {
            while numbers[side] < images[side].regions.count, images[side].regions[numbers[side]].end <= position {
                numbers[side] += 1
            }
        }
        let regions = (0...1).compactMap { side in
            numbers[side] < images[side].regions.count ? images[side].regions[numbers[side]] : nil
        }
        guard let start = regions.map({ max($0.start, position) }).min() else { return nil }
        let bounds = regions.flatMap { [$0.start, $0.end] }.filter { $0 > start }
        return bounds.min().map { (start, $0) }
    }

    private static func covers(_ image: Image, _ number: Int, _ address: UInt64) -> Bool {
        number < image.regions.count && image.regions[number].start <= address
    }

    private mutating func add(_ start: UInt64, _ end: UInt64, _ here: [Int?]) throws(ImageError) {
        // The kernel's clock page is another at any time.
        let isClock = (0...1).contains { side in
            here[side].map { images[side].regions[$0].kind == SCP_REGION_VVAR.rawValue } ?? false
        }
        guard !isClock else { return }
        let lines = (0...1).map { side in here[side].map { MapsLine($0, of: images[side]) } }
        let stretches = try stretches(start, end)
        let change: Difference.Part.Change
        switch (lines[0], lines[1]) {
        case (nil, _): change = .added
        case (_, nil): change = .removed
        case (let first?, let second?):
            let same = first.permissions == second.permissions && first.kind == second.kind && first.path == second.path
            guard !same || !stretches.isEmpty else { return }
            change = same ? .content : .remapped
        }
        guard let line = lines[1] ?? lines[0] else { return }
        parts.append(
            Difference.Part(
                start: String(start, radix: 16), end: String(end, radix: 16), change: change,
                permissions: line.permissions, path: line.path, pages: stretches.reduce(0) { $0 + $1.pages },
                stretches: stretches))
    }

    // MARK: - Content

    private mutating func stretches(_ start: UInt64, _ end: UInt64) throws(ImageError) -> [Difference.Stretch] {
        var found: [(start: UInt64, end: UInt64)] = []
        var position = start
        while position < end {
            let blocks = (0...1).map { block($0, at: position) }
            let until = blocks.compactMap { $0 }.reduce(end) { until, block in
                let bound = block.address > position ? block.address : block.address + block.length
                return min(until, bound)
            }
            for address in try differing(
                blocks.map { $0.flatMap { $0.address <= position ? $0 : nil } }, position, until)
            {
                if let last = found.last, last.end == address {
                    found[found.count - 1].end += UInt64(SCP_DATA_OFFSET)
                } else {
                    found.append((address, address + UInt64(SCP_DATA_OFFSET)))
                }
            }
            position = until
        }
        return found.map {
            Difference.Stretch(
                start: String($0.start, radix: 16), end: String($0.end, radix: 16),
                pages: ($0.end - $0.start) / UInt64(SCP_DATA_OFFSET))
        }
    }

    /// The block with content that covers the address, else the next one.
    private mutating func block(_ side: Int, at address: UInt64) -> scp_block? {
        let blocks = images[side].blocks
        while cursors[side] < blocks.count,
            blocks[cursors[side]].address + blocks[cursors[side]].length <= address || blocks[cursors[side]].isGuard
        {
            cursors[side] += 1
        }
        return cursors[side] < blocks.count ? blocks[cursors[side]] : nil
    }

    /// Addresses of the pages of [start, end) that differ; each block covers all of it.
    private func differing(_ blocks: [scp_block?], _ start: UInt64, _ end: UInt64) throws(ImageError) -> [UInt64] {
        guard blocks.contains(where: { $0 != nil }), !isSame(blocks) else { return [] }
        let length = Int(end - start)
        for side in 0...1 {
            let bytes = scratch[side].first(length)
            guard let block = blocks[side] else {
                bytes.initializeMemory(as: UInt8.self, repeating: 0)
                continue
            }
            try readers[side].read(into: bytes, at: block.offset + (start - block.address), of: block.file)
        }
        let (first, second) = (scratch[0].first(length), scratch[1].first(length))
        return stride(from: 0, to: length, by: Int(SCP_DATA_OFFSET)).compactMap { offset in
            guard let one = first.baseAddress, let other = second.baseAddress,
                memcmp(one + offset, other + offset, Int(SCP_DATA_OFFSET)) != 0
            else { return nil }
            return start + UInt64(offset)
        }
    }

    /// Nothing has to be read to tell: equal checksums of equal pages, or one place of one file.
    private func isSame(_ blocks: [scp_block?]) -> Bool {
        guard let first = blocks[0], let second = blocks[1] else { return false }
        if first.address == second.address, first.length == second.length { return first.checksum == second.checksum }
        return images[0].holder(of: first).identity == images[1].holder(of: second).identity
            && first.offset &- first.address == second.offset &- second.address
    }
}
