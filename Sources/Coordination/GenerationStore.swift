import Formats
import Glibc
import ImageFormat
import SystemCalls

/// Carries out a coordinator's disk operations. Blocking; every failure is a sentence, never a crash.
///
/// A generation is assembled in `.gen-000001.partial`, its files are durable before the manifest is written, and the
/// folder is renamed last: at any moment the folder holds only whole generations and at most one partial.
public enum GenerationStore {
    public static func carryOut(_ operation: DiskOperation) -> DiskOutcome {
        do throws(SystemError) {
            switch operation {
            case .prepare(let directory, let id, let lowest, let settings, let owned):
                return try prepare(directory, id, lowest, settings, owned)
            case .recall(let directory, let id):
                let folder = (try? existingFolder(directory, id)) ?? nil
                return .recalled(folder.flatMap { ComputationSettings.read(directory + "/" + $0) })
            case .findStopped(let pids):
                let stopped = pids.filter(ProcessTable.isStopped)
                return .stopped(stopped, debugger: stopped.lazy.compactMap(ProcessTable.debugger).first)
            case .lead: return .notLed(ENOTSUP)  // the server's
            case .scan(let query): return ProcessScan().carryOut(query)
            case .inspect(let pids): return .inspected(ProcessScan.inspect(pids))
            case .assign(let processes): return Sharing.carryOut(processes)
            case .measure(let paths): return .measured(measure(paths))
            case .commit(let folder, let manifest, let incarnation, let unsynced):
                return try commit(folder, manifest, incarnation, unsynced)
            case .discard(let folder, let generation):
                try Files.removeTree(folder + "/" + CheckpointNames.partialGeneration(generation))
                return .done
            case .prune(let folder, let newest, let keep):
                try prune(folder, newest, keep)
                return .done
            }
        } catch {
            let advised = error.hint.isEmpty ? error.hinting(advice(error.code)) : error
            return .failed(code: error.code, text: "\(advised)")
        }
    }

    private static func advice(_ code: Int32) -> String {
        switch code {
        case ENOSPC, EDQUOT: "free some space, or use another folder (--ckptdir); older generations are untouched"
        case EACCES, EPERM, EROFS: "make the folder writable, or use another one (--ckptdir)"
        case ENOENT, ENOTDIR: "the folder may have been removed or renamed; create it, or use another one (--ckptdir)"
        default: "older generations are untouched"
        }
    }

    // MARK: Prepare

    private static func prepare(
        _ directory: String, _ id: String, _ lowest: UInt32, _ settings: ComputationSettings, _ owned: Bool
    ) throws(SystemError) -> DiskOutcome {
        try Files.makeDirectories(directory)
        let folder =
            try directory + "/"
            + (existingFolder(directory, id) ?? CheckpointNames.computation(name: settings.name, id: id))
        try Files.makeDirectories(folder, mode: 0o700)
        if owned { try checkOwner(folder, settings.incarnation) }
        var highest: UInt32 = 0
        for entry in try Files.list(folder) {
            if CheckpointNames.isPartialGeneration(entry) {
                // Nobody else makes one: this computation has one coordinator, and it makes one generation at a time.
                try Files.removeTree(folder + "/" + entry)
            } else if let number = CheckpointNames.generationNumber(entry) {
                highest = max(highest, number)
            }
        }
        if ComputationSettings.read(folder) != settings { try settings.write(folder) }
        guard highest < .max else { throw SystemError(EOVERFLOW, "number a generation above those in", folder) }
        let generation = max(highest + 1, lowest, 1)
        let partial = folder + "/" + CheckpointNames.partialGeneration(generation)
        try Files.makeDirectory(partial, mode: 0o700)
        linkFilePages(folder, partial)
        return .prepared(folder: folder, generation: generation, partial: partial)
    }

    /// The folder of this id, whatever name the computation had when it was made.
    private static func existingFolder(_ directory: String, _ id: String) throws(SystemError) -> String? {
        let suffix = "_" + CheckpointNames.fileSafe(id)
        return try Files.list(directory).first { $0.hasPrefix("ckpt_") && $0.hasSuffix(suffix) }
    }

    /// EPERM when the folder has been taken over by a later copy of the computation.
    private static func checkOwner(_ folder: String, _ incarnation: String) throws(SystemError) {
        guard let owner = ComputationSettings.read(folder), owner.incarnation != incarnation else { return }
        throw SystemError(
            EPERM, "add a generation to", folder,
            hint:
                "the computation was started again meanwhile (on host \(owner.host)), and the folder is that copy's now;"
                + " end this copy")
    }

    /// Generations whose file pages a new one may have links to. After so many it begins anew, without what nobody maps any more.
    private static let earlierFilePages = 8

    /// The new generation has what the newest one has of the pages of mapped files. A file system that knows no second names
    /// does without.
    private static func linkFilePages(_ folder: String, _ partial: String) {
        guard let newest = (try? ComputationFolder(path: folder).newestComplete()) ?? nil else { return }
        let names = ((try? Files.list(newest.path)) ?? []).filter(CheckpointNames.isFilePages)
        guard names.count <= earlierFilePages else { return }
        for name in names {
            let number = CheckpointNames.earlierFilePagesNumber(name) ?? newest.number
            try? Files.hardLink(newest.path + "/" + name, to: partial + "/" + CheckpointNames.earlierFilePages(number))
        }
    }

    private static func measure(_ paths: [String]) -> UInt64 {
        paths.reduce(0) { sum, path in
            let blocks = (try? Files.status(path).allocated) ?? 0
            return sum &+ blocks
        }
    }

    // MARK: Commit

    private static func commit(
        _ folder: String, _ manifest: Manifest, _ incarnation: String, _ unsynced: [String]
    ) throws(SystemError) -> DiskOutcome {
        try checkOwner(folder, incarnation)
        for number in manifest.needs ?? [] where !Files.exists(manifestPath(folder, number)) {
            throw SystemError(ENOENT, "build on", folder + "/" + CheckpointNames.generation(number))
        }
        let partial = folder + "/" + CheckpointNames.partialGeneration(manifest.generation)
        for process in manifest.processes {
            let image = partial + "/" + process.image
            let status = try Files.status(image)
            guard status.isRegular, status.size > 0 else { throw SystemError(EIO, "use", image) }
        }
        let kept = Set(manifest.processes.map(\.image) + (manifest.filePages ?? []))
        for name in manifest.filePages ?? [] {
            try Files.open(partial + "/" + name, O_RDONLY | O_NOFOLLOW).sync(object: partial + "/" + name)
        }
        for image in unsynced { try Files.open(partial + "/" + image, O_RDONLY).sync(object: partial + "/" + image) }
        // Images begun by processes that ended, or replaced their program, before everything stood still; file pages that
        // nobody needs any more.
        for name in try Files.list(partial) where !kept.contains(name) {
            try Files.removeTree(partial + "/" + name)
        }
        let bytes: [UInt8]
        do throws(ImageError) { bytes = try manifest.encoded() } catch {
            throw SystemError(EINVAL, "write", partial + "/" + CheckpointNames.manifest)
        }
        // All names in the folder are durable before it gets its own: no generation is ever seen in part.
        try Files.write(bytes, to: partial + "/" + CheckpointNames.manifest)
        try Files.syncDirectory(partial)
        let path = folder + "/" + CheckpointNames.generation(manifest.generation)
        try Files.rename(partial, to: path, replacing: false)
        try publish(folder, path)
        return .committed(path: path)
    }

    /// The link and the last fsync. If they fail, the generation is taken back: its images are about to be disowned.
    private static func publish(_ folder: String, _ path: String) throws(SystemError) {
        let latest = folder + "/" + CheckpointNames.latest
        let before = try? Files.readLink(latest)
        do throws(SystemError) {
            try Files.replaceLink(latest, to: Path.name(path))
            try Files.syncDirectory(folder)
        } catch {
            try? Files.unlink(path + "/" + CheckpointNames.manifest)
            try? Files.removeTree(path)
            if let before { try? Files.replaceLink(latest, to: before) } else { try? Files.unlink(latest) }
            throw error
        }
    }

    // MARK: Prune

    /// What a kept generation needs stays, complete as it is, and what that needs in turn.
    private static func prune(_ folder: String, _ newest: UInt32, _ keep: UInt32) throws(SystemError) {
        let numbers = try Files.list(folder).compactMap(CheckpointNames.generationNumber).sorted(by: >)
        let complete = numbers.filter { number in
            Files.exists(manifestPath(folder, number)) && number <= newest
        }
        let kept = numbers.filter { $0 > newest } + complete.prefix(Int(max(keep, 1)))
        guard let needed = needed(by: kept, in: folder) else { return }
        for number in complete.dropFirst(Int(max(keep, 1))) where !needed.contains(number) {
            // Without its manifest it is incomplete at once, whatever interrupts the rest.
            try Files.unlink(manifestPath(folder, number))
            try Files.removeTree(folder + "/" + CheckpointNames.generation(number))
        }
    }

    /// Nil when that cannot be told, because a manifest cannot be read.
    private static func needed(by kept: [UInt32], in folder: String) -> Set<UInt32>? {
        var needed = Set<UInt32>()
        var rest = kept
        while let number = rest.popLast() {
            guard Files.exists(manifestPath(folder, number)) else { continue }
            guard let manifest = try? Manifest.read(manifestPath(folder, number)) else { return nil }
            rest += (manifest.needs ?? []).filter { needed.insert($0).inserted }
        }
        return needed
    }

    private static func manifestPath(_ folder: String, _ number: UInt32) -> String {
        folder + "/" + CheckpointNames.generation(number) + "/" + CheckpointNames.manifest
    }
}
