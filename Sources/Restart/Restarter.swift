import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import Launch
import Options
import SystemCalls
import Wire

/// From IMAGE arguments to running processes, and the parent of their root until it ends.
///
///     resolve, verify, refuse -> coordinator -> open files -> namespaces -> plans -> process tree -> restorers
///     -> all shims say "arrived" -> go -> all say "restored" -> babysitter
public struct Restarter {
    let options: RestartOptions
    let set: RestartSet
    /// Loaded while the images are read and checked. Opens nothing before `announce`, and ends if it does not come to that.
    let coordinator: PreparedCoordinator?

    /// Reads and checks the images; nothing is started but a coordinator that may yet be not wanted.
    public init(_ options: RestartOptions) throws(RestartError) {
        self.options = options
        let access = options.verifyOnly ? nil : try? CoordinatorAccess(options.parsed)
        coordinator = access.flatMap(PreparedCoordinator.init)
        // Each process takes an image, a plan and a pipe here.
        _ = scp_raise_descriptor_limit()
        set = try RestartSet(options.parsed.operands)
    }

    /// The exit status: the root's own.
    public func run() throws(RestartError) -> Int32 {
        if options.verifyOnly { return try verifyAll() }
        try checkNewIds()
        let preflights = set.images.map { Preflight(file: $0, options: options) }
        for preflight in preflights {
            try preflight.check()
            try preflight.checkContents()
        }
        let merged = try MergedTables(set.images.map { ImageTables($0) })
        try MadeDescriptors.check(merged, of: set.images, options)
        var shared = try SharedMemory(set.images)
        let tree = try treePlan(.recorded)
        let kernel = try kernelPlans()
        let (lazy, spared) = (isLazy, SparedBlocks(set.images, kernel))
        if !lazy { try verify(spared) }
        let restorer = try system { () throws(SystemError) in try NativeFiles.restorer() }
        let access = try speaking { () throws(WireError) in try CoordinatorAccess(options.parsed) }
        var identity = Identity(set: set, numbers: tree.numbers, options: options)
        identity.beginTrial()
        // Before this process enters namespaces: a coordinator that has to be started must not be born into them.
        let launched = try speaking { () throws(WireError) in try access.announce(announcement(), coordinator) }
        let places = places(preflights)
        let made = try MadeDescriptors.make(merged, of: set.images, options)
        for sentence in made.warnings + tree.warnings { options.report.warning(sentence) }
        try shared.make(found: { made.find(device: $0, inode: $1) })
        var settings = PlanFile.Settings()
        settings.coordinator = access.address.description
        settings.computation = launched.computation
        settings.checkpointDirectory = checkpointDirectory()
        let memories = try memoryPlans(made, shared, kernel, lazy: lazy)
        let plans = Plans(
            memories: memories, kernel: kernel, places: places, restorer: restorer,
            unverified: zip(memories, spared.blocks).map { $0.lazyBlocks + (lazy ? $1 : []) })
        return try bringBack(plans, made, shared, tree, identity, settings)
    }

    private func verify(_ spared: SparedBlocks) throws(RestartError) {
        var verifier = BlockVerifier(set.images, blocks: spared.blocks)
        do throws(ImageError) {
            while !verifier.isDone { try verifier.step() }
        } catch { throw RestartError(error) }
    }

    private func checkNewIds() throws(RestartError) {
        guard options.keepPids == .never, set.images.count > 1 else { return }
        throw RestartError(
            "\(set.images.count) processes that know each other by their ids cannot be restarted under new ones;"
                + " leave --keep-pids never out")
    }

    /// What is planned of each process, in the order of the images.
    private struct Plans {
        let memories: [MemoryPlan]
        let kernel: [VDSOPlan]
        let places: [ProgramProcesses.Place]
        let restorer: String
        /// Blocks of each image that are compared while the program runs.
        let unverified: [[Int]]
    }

    /// Layer after layer until the program runs; then the parent of its root until that ends.
    private func bringBack(
        _ plans: Plans, _ made: borrowing MadeDescriptors, _ shared: SharedMemory, _ recorded: TreePlan,
        _ identity: Identity, _ template: PlanFile.Settings
    ) throws(RestartError) -> Int32 {
        var (settings, failed) = (template, [IdentityLayer]())
        let progress = RestartProgress(quietness: options.parsed.quietness)
        defer { progress.end() }
        while true {
            // Before this process enters namespaces: those who unpack are not to be born into them.
            let packed = UnpackedContent.Plan(set)
            progress.begin(plans.memories, unpacking: packed.length)
            let content = try UnpackedContent(packed, progress)
            let entered = try identity.enter(without: failed)
            progress.hide()
            warn(entered)
            settings.setTids = entered.layer != .patch
            settings.arrivalFlags = entered.arrivalFlags
            do throws(RestartError) {
                try shared.makeSegments()
                try made.again()
                let tree = try treePlan(for: entered.layer, recorded)
                let processes = try ProgramProcesses.start(
                    tree, set, files: planFiles(plans, settings), memories: plans.memories, places: plans.places,
                    content: content, made: made, entered: entered, restorer: plans.restorer, progress: progress)
                let (address, computation) = (settings.coordinator, settings.computation)
                var babysitter = try Babysitter(
                    processes, entered: entered, options: options, set: set,
                    unverified: plans.unverified, joined: { Self.hasJoined(address, computation) })
                return try babysitter.run()
            } catch {
                // Between the look and the use another process has got one of the numbers.
                guard error.isTaken, entered.layer == .same else { throw error }
                failed.append(entered.layer)
            }
        }
    }

    private func warn(_ entered: Entered) {
        guard entered.layer == .patch, options.keepPids != .never else { return }
        options.report.warning(
            "the program runs under a new process id: the old one cannot be given back here; what it remembers of ids"
                + " (pid files, logs) is out of date")
    }

    private func verifyAll() throws(RestartError) -> Int32 {
        for image in set.images.sorted(by: { $0.path < $1.path }) {
            try reading { () throws(ImageError) in try image.verifyOrThrow() }
            options.report.note("\(image.path): sound")
        }
        return ExitStatus.done
    }
}

// MARK: - Plans

extension Restarter {
    private func treePlan(
        _ numbers: TreePlan.Numbers, keepsOuterGroups: Bool = true
    ) throws(RestartError) -> TreePlan {
        try TreePlan(
            set.treeProcesses(), root: set.rootImage.process.pid, lent: set.lentSessions, numbers: numbers,
            keepsOuterGroups: keepsOuterGroups)
    }

    /// Where others live too, a process group that was led from outside may live on, with its number.
    private func treePlan(for layer: IdentityLayer, _ recorded: TreePlan) throws(RestartError) -> TreePlan {
        switch layer {
        case .patch: return try treePlan(.any)
        case .same where recorded.outerGroups.contains { crestart_number_taken(Int32($0)) == 1 }:
            return try treePlan(.recorded, keepsOuterGroups: false)
        default: return recorded
        }
    }

    private func kernelPlans() throws(RestartError) -> [VDSOPlan] {
        var plans: [VDSOPlan] = []
        for image in set.images { plans.append(try VDSOPlan.make(for: image)) }
        return plans
    }

    private func places(_ preflights: [Preflight]) -> [ProgramProcesses.Place] {
        var files: [[UInt8]: OpenFile?] = [:]
        return preflights.map { preflight in
            let path = preflight.file.stringBytes(preflight.file.process.executable)
            let file = files[path] ?? preflight.executable()
            files[path] = .some(file)
            return ProgramProcesses.Place(directory: preflight.directory, executable: file)
        }
    }

    private func memoryPlans(
        _ made: borrowing MadeDescriptors, _ shared: SharedMemory, _ kernel: [VDSOPlan], lazy: Bool
    ) throws(RestartError) -> [MemoryPlan] {
        let raw = made.raw
        var plans: [MemoryPlan] = []
        for (image, vdso) in zip(set.images, kernel) {
            plans.append(
                try MemoryPlan(
                    .init(
                        file: image, options: options, lazy: lazy, vdso: vdso,
                        find: { crestart_descriptors_find(raw, $0, $1) }, shared: { shared.descriptor(for: $0) })))
        }
        return plans
    }

    private func planFiles(_ plans: Plans, _ template: PlanFile.Settings) -> [PlanFile] {
        set.images.indices.map { index in
            var settings = template
            settings.vdso = plans.kernel[index]
            settings.isCold = plans.memories[index].bytesToPlace >= Self.directMinimum && isCold(set.images[index])
            if !plans.memories[index].lazyBlocks.isEmpty { settings.arrivalFlags |= SCP_ARRIVAL_LAZY.rawValue }
            return PlanFile(set.images[index], memory: plans.memories[index], settings: settings)
        }
    }

    /// Whether it pays to read the image, and what it needs, past the page cache: the largest of them decides.
    private func isCold(_ image: Image) -> Bool {
        let plain = ([ContentFile(image)] + image.ancestors).filter { !$0.isCompressed }
        guard let largest = plain.max(by: { $0.end < $1.end }) else { return false }
        return !Self.isCached(largest)
    }

    private static func isCached(_ content: ContentFile) -> Bool {
        crestart_is_cached(content.file.descriptor, 0, content.end) != 0
    }

    /// Bytes to read for which that is worth it.
    private static let directMinimum: UInt64 = 64 << 20

    /// Content (bytes) up to which memory is read before the program runs.
    private static let eagerLimit: UInt64 = 256 << 20

    private var isLazy: Bool {
        let files = set.images.map(ContentFile.init) + set.images.flatMap(\.ancestors)
        guard !files.contains(where: \.isCompressed) else {
            if options.mode == .lazy {
                options.report.note(
                    "a compressed image cannot be restored lazily; its memory is read before the program runs")
            }
            return false
        }
        switch options.mode {
        case .lazy: return true
        case .eager: return false
        case .auto: break
        }
        guard set.content > Self.eagerLimit, !options.background else { return false }
        return files.contains { !Self.isCached($0) }
    }
}
