import CSwiftCP
import Formats
import Glibc
import SystemCalls

// What an image does not hold itself stands in files beside it. Where says each block:
//
//     gen-000007/NAME_PID.swiftcp    block  block  block     ../gen-000004/NAME_PID.swiftcp   an earlier image of the process
//                                    own    file 1 file 2    file-pages                       pages of mapped files, which the
//                                                                                             processes of a generation share
//
// The files are found by number and plain name alone, in the folder of the image and those beside it: no path of an image is
// ever followed. Each must be the very file, by a number that it holds (`scp_ancestor`). What *it* needs is of no interest, so
// that there is no chain to walk.

extension Image {
    /// It needs earlier generations.
    public var isIncremental: Bool { needs.contains { $0.generation < header.generation } }

    /// The file that holds a block's bytes.
    public func holder(of block: scp_block) -> ContentFile {
        block.file == 0 ? ContentFile(self) : ancestors[Int(block.file) - 1]
    }

    /// Path of a file that it needs.
    public func path(of need: scp_ancestor) -> String {
        Self.place(need, of: path, header.generation, string(need.name))
    }

    private static func place(_ need: scp_ancestor, of path: String, _ generation: UInt32, _ name: String) -> String {
        let folder = Path.parent((try? Files.realPath(path)) ?? path)
        guard need.generation != generation else { return folder + "/" + name }
        return Path.parent(folder) + "/" + CheckpointNames.generation(need.generation) + "/" + name
    }

    /// Whose files are wanted.
    struct Owner {
        let path: String
        let generation: UInt32
        let pid: UInt32
        let computation: UInt32
        let strings: [UInt8]

        func text(_ offset: UInt32) -> String {
            let bytes = offset < strings.count ? strings[Int(offset)...].prefix { $0 != 0 } : []
            return String(decoding: bytes, as: UTF8.self)
        }

        func damaged(_ what: String) -> ImageError { ImageError(.damaged, path, what) }
    }

    /// Opens all of them. Names and numbers are checked first.
    static func open(
        _ needs: [scp_ancestor], of owner: Owner, _ filePages: OpenedFilePages
    ) throws(ImageError) -> [ContentFile] {
        guard needs.count <= Int(SCP_ANCESTORS_MAXIMUM) else {
            throw owner.damaged("it needs \(needs.count) other files")
        }
        var files: [ContentFile] = []
        for need in needs {
            let name = owner.text(need.name)
            guard isPossible(need, name, owner.generation, owner.pid) else {
                throw owner.damaged("a file that it needs is impossible")
            }
            let path = place(need, of: owner.path, owner.generation, name)
            files.append(try open(need, at: path, for: owner, filePages))
        }
        return files
    }

    private static func isPossible(_ need: scp_ancestor, _ name: String, _ generation: UInt32, _ pid: UInt32) -> Bool {
        guard need.generation > 0, need.generation <= generation else { return false }
        if CheckpointNames.isFilePages(name) { return true }
        return need.generation < generation && ImageName(name)?.pid == pid
    }

    private static func open(
        _ need: scp_ancestor, at path: String, for owner: Owner, _ filePages: OpenedFilePages
    ) throws(ImageError) -> ContentFile {
        let (file, image): (ContentFile, Image?)
        do throws(ImageError) {
            if CheckpointNames.isFilePages(owner.text(need.name)) {
                (file, image) = (try filePages.open(path), nil)
            } else {
                let earlier = try Image(path: path, alone: true)
                (file, image) = (ContentFile(earlier), earlier)
            }
        } catch {
            guard error.kind == .missing else { throw error }
            throw ImageError(
                .missing, path,
                need.generation == owner.generation
                    ? "no such file; \(owner.path) needs it (keep the files of a generation together, or use swiftcp_image"
                        + " flatten)"
                    : "no such file; \(owner.path) is incremental and needs it (keep the generations of a computation"
                        + " together, or use swiftcp_image flatten)")
        }
        guard file.identity == need.metadata_checksum else {
            throw ImageError(
                .missing, path, "not the file that \(owner.path) was made with: another has taken its place")
        }
        if let image {
            guard image.header.generation == need.generation, image.process.pid == owner.pid,
                image.string(image.header.computation) == owner.text(owner.computation)
            else { throw owner.damaged("\(path), which it needs, is of another process") }
        }
        return file
    }

    func checkNeeds() throws(ImageError) {
        var names = Set<[String]>()
        for need in needs {
            try checkStrings(need.name, of: "a file that it needs")
            let name = string(need.name), kind = CheckpointNames.isFilePages(name) ? name : ""
            guard Self.isPossible(need, name, header.generation, process.pid),
                names.insert([String(need.generation), kind]).inserted
            else { throw damaged("a file that it needs is impossible") }
        }
        for (index, block) in blocks.enumerated() where block.file != 0 {
            guard block.offset % UInt64(SCP_DATA_OFFSET) == 0, block.offset >= UInt64(SCP_DATA_OFFSET),
                block.offset < 1 << 56
            else { throw damaged("\(name(.block(index))) is in no possible place of another file") }
        }
    }

    /// What it needs of them is there.
    func checkInherited() throws(ImageError) {
        for (index, block) in blocks.enumerated() where block.file != 0 {
            let file = holder(of: block)
            guard file.holds(block.offset..<block.offset + block.stored_length) else {
                throw damaged("\(name(.block(index))) is beyond the end of \(file.path)")
            }
        }
    }

    /// The numbers of all blocks in other files, by file and then ascending by where they stand in it.
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
