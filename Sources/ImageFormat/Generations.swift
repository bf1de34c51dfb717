import Formats

/// One `gen-000001` folder.
public struct Generation: Equatable, Sendable {
    public let number: UInt32
    public let path: String
    /// Its manifest is there.
    public let isComplete: Bool

    public var manifestPath: String { path + "/" + CheckpointNames.manifest }

    /// Reads and checks the manifest, and that it is about this generation.
    public func manifest() throws(ImageError) -> Manifest {
        let manifest = try Manifest.read(manifestPath)
        guard manifest.generation == number else {
            throw ImageError(
                .damaged, manifestPath, "the manifest is of generation \(manifest.generation), the folder of \(number)")
        }
        return manifest
    }
}

/// One `ckpt_NAME_ID` folder.
public struct ComputationFolder: Equatable, Sendable {
    public let path: String

    public init(path: String) { self.path = path }

    /// Every generation with its final name, oldest first. An absent folder has none.
    public func generations() throws(ImageError) -> [Generation] {
        var found: [Generation] = []
        for name in try Disk.names(in: path) ?? [] {
            guard let number = CheckpointNames.generationNumber(name) else { continue }
            let folder = path + "/" + name
            guard Disk.isDirectory(folder) else { continue }
            let complete = Disk.isRegular(folder + "/" + CheckpointNames.manifest)
            found.append(Generation(number: number, path: folder, isComplete: complete))
        }
        return found.sorted { $0.number < $1.number }
    }

    /// The newest generation that has a manifest; nil when there is none.
    public func newestComplete() throws(ImageError) -> Generation? {
        try generations().last { $0.isComplete }
    }

    /// Names of folders in which a generation was being assembled when everything ended.
    public func partialGenerations() throws(ImageError) -> [String] {
        try (Disk.names(in: path) ?? []).filter(CheckpointNames.isPartialGeneration).sorted()
    }
}

extension Manifest {
    /// Reads and checks a manifest file.
    public static func read(_ path: String) throws(ImageError) -> Manifest {
        try decode(Disk.read(path, limit: maximumLength), path: path)
    }
}
