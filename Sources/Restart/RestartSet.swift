import CSwiftCP
import ImageFormat
import Options
import SystemCalls

/// The images that are restored together: those of one generation, or one that lies alone.
struct RestartSet {
    let selection: Selection
    /// Siblings in the order of their birth.
    let images: [Image]
    /// Which of them swiftcp_restart is to be the parent of.
    let root: Int

    /// Numbers of the pseudo-terminals whose masters processes of the set have.
    let masters: Set<UInt64>

    var rootImage: Image { images[root] }

    /// Reads and checks the images.
    ///
    /// - Parameter operands: images, generations or computations; several must be of one generation.
    init(_ operands: [String]) throws(RestartError) {
        let selection = try Self.select(operands)
        var images: [Image] = []
        let filePages = OpenedFilePages()
        for path in selection.images {
            images.append(
                try reading { () throws(ImageError) in
                    selection.images.count == 1 ? try Image(path: path) : try selection.open(path, filePages: filePages)
                })
        }
        try self.init(images, selection)
    }

    init(_ images: [Image], _ selection: Selection) throws(RestartError) {
        self.selection = selection
        self.images = images.sorted { $0.process.pid < $1.process.pid }
        try Self.checkTogether(self.images)
        root = try Self.findRoot(self.images)
        masters = Set(
            images.flatMap(\.objects).filter { $0.kind == SCP_OBJECT_TERMINAL_MASTER.rawValue }.map(\.value.0))
    }

    // MARK: - What the operands stand for

    static func select(_ operands: [String]) throws(RestartError) -> Selection {
        guard let first = operands.first else { throw RestartError("no image is named", status: ExitStatus.usage) }
        let selection = try reading { () throws(ImageError) in try Selection.resolve(first) }
        var alone = selection.manifest == nil ? selection.images : []
        for operand in operands.dropFirst() {
            let other = try reading { () throws(ImageError) in try Selection.resolve(operand) }
            guard selection.folder.map(realPath) == other.folder.map(realPath) else {
                throw RestartError(
                    "\(first) and \(operand) are not of one generation; name one checkpoint", status: ExitStatus.usage)
            }
            if other.manifest == nil, !alone.contains(other.images[0]) { alone += other.images }
        }
        guard selection.manifest == nil, alone.count > 1 else { return selection }
        return Selection(alone: alone)
    }

    private static func realPath(_ path: String) -> String { (try? Files.realPath(path)) ?? path }

    // MARK: - Do they belong together?

    private static func checkTogether(_ images: [Image]) throws(RestartError) {
        guard let first = images.first else { throw RestartError("no image is named", status: ExitStatus.usage) }
        var numbers: [UInt32: Image] = [:]
        for image in images {
            guard image.header.generation == first.header.generation,
                image.string(image.header.computation) == first.string(first.header.computation)
            else {
                throw RestartError.unusable(
                    image.path, "not of the same generation as \(first.path); name the images of one checkpoint")
            }
            for number in image.threads.map(\.tid) + image.zombies.map(\.pid) {
                guard let other = numbers.updateValue(image, forKey: number) else { continue }
                throw RestartError.unusable(
                    image.path, "the image is damaged: it has the id \(number), as \(other.path) has")
            }
        }
    }

    /// The one that was launched; when that has ended, the eldest whose parent is not there.
    private static func findRoot(_ images: [Image]) throws(RestartError) -> Int {
        let launched = images.indices.filter { images[$0].process.root_process != 0 }
        guard launched.count <= 1 else {
            throw RestartError.unusable(
                images[launched[1]].path, "the image is damaged: two processes claim to be the launched one")
        }
        let pids = Set(images.map(\.process.pid))
        return launched.first ?? images.firstIndex { !pids.contains($0.process.ppid) } ?? 0
    }

    // MARK: - The whole

    /// For messages about one process: its image, and of several whose it is.
    func messageName(_ index: Int) -> String {
        let image = images[index]
        guard images.count > 1 else { return image.path }
        return "\(image.path) (\(image.string(image.process.command)), process \(image.process.pid))"
    }

    /// For messages about all.
    var selectionName: String { images.count > 1 ? selection.folder ?? rootImage.path : rootImage.path }

    /// Bytes of memory content.
    var content: UInt64 {
        images.reduce(0) { $0 + $1.blocks.reduce(UInt64(0)) { $0 + $1.stored_length } }
    }

    /// Every id that must be had again.
    var numbers: [UInt32] { images.flatMap { $0.threads.map(\.tid) + $0.zombies.map(\.pid) } }
}
