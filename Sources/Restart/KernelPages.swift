import CRestart
import CSwiftCP
import ImageFormat
import SystemCalls

/// The kernel's own pages in an address space: `[vdso]`, and `[vvar]` with `[vvar_vclock]` beside it.
struct KernelPages: Equatable {
    var vdsoStart: UInt64 = 0
    var vdsoLength: UInt64 = 0
    var vvarStart: UInt64 = 0
    var vvarLength: UInt64 = 0

    /// Of this process, out of the text of /proc/self/maps.
    init(maps: String) {
        for line in maps.split(separator: "\n") {
            let isVdso = line.hasSuffix("[vdso]")
            guard isVdso || line.contains("[vvar"), let range = Self.range(line) else { continue }
            if isVdso {
                (vdsoStart, vdsoLength) = (range.lowerBound, range.upperBound - range.lowerBound)
            } else {
                if vvarLength == 0 { vvarStart = range.lowerBound }
                vvarLength = range.upperBound - vvarStart
            }
        }
    }

    init(_ header: scp_image_header) {
        (vdsoStart, vdsoLength) = (header.vdso_start, header.vdso_length)
        (vvarStart, vvarLength) = (header.vvar_start, header.vvar_length)
    }

    private static func range(_ line: Substring) -> Range<UInt64>? {
        let bounds = line.prefix { $0 != " " }.split(separator: "-")
        guard bounds.count == 2, let low = UInt64(bounds[0], radix: 16), let high = UInt64(bounds[1], radix: 16),
            low < high
        else { return nil }
        return low..<high
    }

    /// True when the parts of both have the same lengths and distances: one can be moved to where the other was.
    func hasShape(of other: KernelPages) -> Bool {
        vdsoLength == other.vdsoLength && vvarLength == other.vvarLength
            && vvarStart &- vdsoStart == other.vvarStart &- other.vdsoStart
    }
}

/// What becomes of the image's vdso.
enum VDSOPlan {
    /// The kernel's is the same: it is moved to where the program had it.
    case move
    /// It is another: the image's is put back as plain memory, these entries of it become jumps.
    case trampolines([scp_plan_symbol])

    /// Compares the image's vdso with that of the kernel here.
    static func make(for file: Image) throws(RestartError) -> VDSOPlan {
        let maps = try system { () throws(SystemError) in try Files.read("/proc/self/maps") }
        let here = KernelPages(maps: String(decoding: maps, as: UTF8.self))
        let there = KernelPages(file.header)
        guard there.vdsoStart != 0 else { return .move }  // it ran without
        let old = try reading { () throws(ImageError) in
            try file.memory(at: there.vdsoStart, count: Int(min(there.vdsoLength, 1 << 20)))
        }
        guard here.vdsoStart != 0 else {
            throw RestartError(
                "this kernel has no vdso (vdso=0), the program needs one; start the kernel without vdso=0")
        }
        let new = bytes(at: here.vdsoStart, count: Int(here.vdsoLength))
        if here.hasShape(of: there), old.starts(with: new) || old.isEmpty, forcedTrampolines == false { return .move }
        return .trampolines(try symbols(old: old, new: new, path: file.path))
    }

    /// For tests: as if the kernel were another.
    private static var forcedTrampolines: Bool { Environment.value("SWIFTCP_TEST_TRAMPOLINES") != nil }

    private static func bytes(at address: UInt64, count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            crestart_copy_memory(buffer.baseAddress, address, count)
            filled = count
        }
    }

    private static func symbols(old: [UInt8], new: [UInt8], path: String) throws(RestartError) -> [scp_plan_symbol] {
        let (before, now) = (DynamicSymbols.functions(old), DynamicSymbols.functions(new))
        var result: [scp_plan_symbol] = []
        for (name, offset) in before where name.hasPrefix("__vdso_") {
            guard let target = now[name] else { continue }
            result.append(scp_plan_symbol(old_offset: offset, new_offset: target))
        }
        guard result.contains(where: { $0.old_offset == before["__vdso_clock_gettime"] }) else {
            throw RestartError.unusable(
                path, "the clock functions of the kernel it was made under do not match those of this kernel (vdso)")
        }
        return result.sorted { $0.old_offset < $1.old_offset }
    }
}

/// The functions that a small ELF64 shared object exports.
enum DynamicSymbols {
    /// Name to offset (bytes from the start). What cannot be read gives nothing.
    static func functions(_ bytes: [UInt8]) -> [String: UInt64] {
        let (sections, size, count) = (number(bytes, 40, 8), number(bytes, 58, 2), number(bytes, 60, 2))
        guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]), size == 64 else { return [:] }
        for index in 0..<count where number(bytes, sections + index * 64 + 4, 4) == 11 {  // SHT_DYNSYM
            return read(bytes, section: sections + index * 64, sections: sections)
        }
        return [:]
    }

    private static func read(_ bytes: [UInt8], section: Int, sections: Int) -> [String: UInt64] {
        let (table, length) = (number(bytes, section + 24, 8), number(bytes, section + 32, 8))
        let names = number(bytes, sections + number(bytes, section + 40, 4) * 64 + 24, 8)
        var found: [String: UInt64] = [:]
        guard length <= bytes.count else { return [:] }
        for entry in stride(from: table, to: table + length, by: 24) {
            let kind = number(bytes, entry + 4, 1) & 15
            let (value, size) = (number(bytes, entry + 8, 8), number(bytes, entry + 16, 8))
            guard kind == 2, value > 0, value < bytes.count, size == 0 || size >= 13 else { continue }  // STT_FUNC
            let start = names + number(bytes, entry, 4)
            guard start < bytes.count else { continue }
            found[String(decoding: bytes[start...].prefix { $0 != 0 }, as: UTF8.self)] = UInt64(value)
        }
        return found
    }

    /// A little-endian number; 0 outside the bytes and for what does not fit.
    private static func number(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> Int {
        guard offset >= 0, offset < bytes.count, bytes.count - offset >= size else { return 0 }
        let value = bytes[offset..<offset + size].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return value < UInt64(1) << 40 ? Int(value) : 0
    }
}
