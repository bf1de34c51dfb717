import Formats

/// What a user's IMAGE argument stands for: the images of one checkpoint.
///
/// The argument is a `.swiftcp` file, a generation folder, or a computation folder (its newest complete generation).
/// An image of a set stands for the set.
public struct Selection: Equatable, Sendable {
    /// Path of each image, in the manifest's order; never empty.
    public let images: [String]
    /// The image that the argument names; nil when it names a folder.
    public let named: String?
    /// Folder of the generation; nil for an image that lies alone, without a manifest beside it.
    public let folder: String?
    public let manifest: Manifest?

    /// Images that lie alone, without a manifest beside them.
    public init(alone images: [String]) {
        self.init(images: images, named: nil, folder: nil, manifest: nil)
    }

    init(images: [String], named: String?, folder: String?, manifest: Manifest?) {
        (self.images, self.named, self.folder, self.manifest) = (images, named, folder, manifest)
    }

    /// Resolves `argument`, reading the manifest. Does not open any image.
    public static func resolve(_ argument: String) throws(ImageError) -> Selection {
        guard let kind = try Disk.kind(argument) else {
            throw ImageError(.missing, argument, "no such file or folder")
        }
        switch kind {
        case .regular: return try file(argument)
        case .directory: return try directory(argument)
        case .other: throw ImageError(.notAnImage, argument, "neither a file nor a folder")
        }
    }

    /// The single image that `argument` stands for; an error when it stands for several.
    public static func single(_ argument: String) throws(ImageError) -> String {
        let selection = try resolve(argument)
        if let named = selection.named { return named }
        guard selection.images.count == 1 else {
            let names = selection.images.prefix(8).map { $0.split(separator: "/").last.map(String.init) ?? $0 }
            throw ImageError(
                .missing, argument,
                "holds the images of \(selection.images.count) processes; name one of them: "
                    + names.joined(separator: ", ") + (selection.images.count > 8 ? ", …" : ""))
        }
        return selection.images[0]
    }

    /// Opens one of the images, and checks that it is the one that the manifest was written for.
    ///
    /// - Parameters: as those of `Image`.
    public func open(
        _ path: String, alone: Bool = false, filePages: OpenedFilePages = OpenedFilePages()
    ) throws(ImageError) -> Image {
        let image = try Image(path: path, alone: alone, filePages: filePages)
        guard let manifest else { return image }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        guard let process = manifest.processes.first(where: { $0.image == name }),
            process.metadataChecksum == image.header.metadata_checksum, process.pid == image.process.pid
        else { throw ImageError(.damaged, path, "not the image that the manifest beside it was written for") }
        return image
    }

    private static func file(_ path: String) throws(ImageError) -> Selection {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { path[..<$0].isEmpty ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let manifestPath = folder + "/" + CheckpointNames.manifest
        guard Disk.isRegular(manifestPath) else {
            return Selection(images: [path], named: path, folder: nil, manifest: nil)
        }
        let manifest = try Manifest.read(manifestPath)
        guard manifest.processes.contains(where: { $0.image == name }) else {
            throw ImageError(
                .damaged, path, "the manifest beside it does not name it; it is no part of that checkpoint")
        }
        let images = manifest.processes.map { $0.image == name ? path : folder + "/" + $0.image }
        return Selection(images: images, named: path, folder: folder, manifest: manifest)
    }

    private static func directory(_ path: String) throws(ImageError) -> Selection {
        let folder = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        if Disk.isRegular(folder + "/" + CheckpointNames.manifest) { return try generation(folder) }
        let generations = try ComputationFolder(path: folder).generations()
        if let newest = generations.last(where: \.isComplete) { return try generation(newest.path) }
        throw try emptyFolder(path, hasGenerations: !generations.isEmpty)
    }

    private static func generation(_ folder: String) throws(ImageError) -> Selection {
        let manifest = try Manifest.read(folder + "/" + CheckpointNames.manifest)
        let images = manifest.processes.map { folder + "/" + $0.image }
        for image in images where !Disk.isRegular(image) {
            throw ImageError(.missing, image, "the manifest beside it names this image, but it is not there")
        }
        return Selection(images: images, named: nil, folder: folder, manifest: manifest)
    }

    /// Says why a folder without a manifest and without complete generations is of no use.
    private static func emptyFolder(_ path: String, hasGenerations: Bool) throws(ImageError) -> ImageError {
        let names = try Disk.names(in: path) ?? []
        if hasGenerations || names.contains(where: CheckpointNames.isPartialGeneration) {
            return ImageError(.missing, path, "no generation in it is complete (none has a manifest.json)")
        }
        if names.contains(where: { $0.hasSuffix(CheckpointNames.imageSuffix) }) {
            return ImageError(
                .missing, path,
                "an incomplete generation: there are images but no manifest.json, the checkpoint was cut short")
        }
        let computations = names.filter { $0.hasPrefix(CheckpointNames.computationPrefix) }.sorted()
        if !computations.isEmpty {
            let list = computations.prefix(4).joined(separator: ", ") + (computations.count > 4 ? ", …" : "")
            return ImageError(.missing, path, "holds computations, not images; name one of them: \(list)")
        }
        return ImageError(.missing, path, "no checkpoint in this folder")
    }
}
