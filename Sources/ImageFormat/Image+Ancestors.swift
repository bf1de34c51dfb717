import CSwiftCP
import Formats
import Glibc
import SystemCalls

// An incremental image holds what has changed since an earlier one of the same process. Where the rest is says each block:
//
//     gen-000007/NAME_PID.swiftcp    block  block  block          ../gen-000004/NAME_PID.swiftcp, ../gen-000006/…
//                                    own    file 1 file 2   --->  metadata checksums as `needs` has them
//
// The files are found by number and plain name alone, in the folders beside the image's own: no path of an image is ever
// followed. Each lies before the image, and what *it* needs is of no interest, so that there is no chain to walk.

extension Image {
    /// It needs earlier images.
    public var isIncremental: Bool { !needs.isEmpty }

    /// The image that holds a block's bytes.
    public func holder(of block: scp_block) -> Image { block.file == 0 ? self : ancestors[Int(block.file) - 1] }

    /// Path of an image that it needs.
    public func path(of need: scp_ancestor) -> String { Self.place(need, of: path, string(need.name)) }

    private static func place(_ need: scp_ancestor, of path: String, _ name: String) -> String {
        let folder = Path.parent((try? Files.realPath(path)) ?? path)
        return Path.parent(folder) + "/" + CheckpointNames.generation(need.generation) + "/" + name
    }

    /// Opens all of them. Names and numbers are checked first.
    static func open(
        _ needs: [scp_ancestor], of file: ImageFile, _ generation: UInt32, _ pid: UInt32, _ strings: [UInt8]
    ) throws(ImageError) -> [Image] {
        guard needs.count <= Int(SCP_ANCESTORS_MAXIMUM) else {
            throw ImageError(.damaged, file.path, "it needs \(needs.count) other images")
        }
        var images: [Image] = []
        for need in needs {
            let bytes = need.name < strings.count ? strings[Int(need.name)...].prefix { $0 != 0 } : []
            let name = String(decoding: bytes, as: UTF8.self)
            guard isPossible(need, name, generation, pid) else {
                throw ImageError(.damaged, file.path, "an earlier image that it needs is impossible")
            }
            images.append(try open(need, at: place(need, of: file.path, name), for: file.path))
        }
        return images
    }

    private static func isPossible(_ need: scp_ancestor, _ name: String, _ generation: UInt32, _ pid: UInt32) -> Bool {
        guard let image = ImageName(name), need.generation > 0, need.generation < generation else { return false }
        return image.pid == pid
    }

    private static func open(_ need: scp_ancestor, at path: String, for user: String) throws(ImageError) -> Image {
        let image: Image
        do throws(ImageError) {
            image = try Image(path: path, alone: true)
        } catch {
            guard error.kind == .missing else { throw error }
            throw ImageError(
                .missing, path,
                "no such file; \(user) is incremental and needs it (keep the generations of a computation together, or"
                    + " use swiftcp_image flatten)")
        }
        guard image.header.metadata_checksum == need.metadata_checksum else {
            throw ImageError(
                .missing, path, "not the image that \(user) was made on: another has taken its place")
        }
        return image
    }

    func checkNeeds() throws(ImageError) {
        var generations = Set<UInt32>()
        for need in needs {
            try checkStrings(need.name, of: "an image that it needs")
            guard Self.isPossible(need, string(need.name), header.generation, process.pid),
                generations.insert(need.generation).inserted
            else { throw damaged("an earlier image that it needs is impossible") }
        }
        for (index, block) in blocks.enumerated() where block.file != 0 {
            guard block.offset % UInt64(SCP_DATA_OFFSET) == 0, block.offset >= UInt64(SCP_DATA_OFFSET),
                block.offset < 1 << 56
            else { throw damaged("\(name(.block(index))) is in no possible place of an earlier image") }
        }
    }

    /// What it needs of them is there, and they are of this process.
    func checkInherited() throws(ImageError) {
        for (need, image) in zip(needs, ancestors) {
            guard image.header.generation == need.generation, image.process.pid == process.pid,
                image.string(image.header.computation) == string(header.computation)
            else { throw damaged("\(image.path), which it needs, is of another process") }
        }
        for (index, block) in blocks.enumerated() where block.file != 0 {
            let image = holder(of: block)
            let end = block.offset + block.stored_length
            guard image.isCompressed ? image.isCovered(block.offset..<end) : end <= image.header.metadata_offset else {
                throw damaged("\(name(.block(index))) is beyond the end of \(image.path)")
            }
        }
    }

    /// The numbers of all blocks in earlier images, by image and then ascending by where they stand in it.
    func inheritedOrder() -> [Int] {
        blocks.indices.filter { blocks[$0].file != 0 }.sorted {
            (blocks[$0].file, blocks[$0].offset) < (blocks[$1].file, blocks[$1].offset)
        }
    }

    /// Bytes that it needs of each of `needs`.
    public func inheritedBytes() -> [UInt64] {
        var bytes = [UInt64](repeating: 0, count: needs.count)
        for block in blocks where block.file != 0 { bytes[Int(block.file) - 1] += block.stored_length }
        return bytes
    }
}
