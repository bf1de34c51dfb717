import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import SystemCalls

/// The processes of the set: made, on their way through the restorer, watched over their status pipes.
struct ProgramProcesses: ~Copyable {
    /// Of the root, in this process's pid namespace.
    let pid: Int32
    /// Of all of them.
    let pids: [Int32]
    /// The root was its session's leader and is again.
    let ownSession: Bool
    let arrivals: Arrivals
    /// Until they have executed the restorer the processes may share this process's memory.
    private let handOver: HandOver

    /// What one process needs beside its plan.
    struct Place {
        /// Working directory of the program.
        let directory: String
        /// The program's file; nil = none.
        let executable: OpenFile?
    }

    /// Makes the processes; they go on to arrive by themselves.
    ///
    /// - Parameters:
    ///   - files: the plans, in the order of the set's images, as `memories` and `places`.
    ///   - restorer: path of `swiftcp_restorer`, absolute.
    ///   - progress: where they count.
    static func start(
        _ tree: TreePlan, _ set: RestartSet, files: [PlanFile], memories: [MemoryPlan], places: [Place],
        content: UnpackedContent, made: borrowing MadeDescriptors, entered: Entered, restorer: String,
        progress: RestartProgress
    ) throws(RestartError) -> ProgramProcesses {
        let handOver = try HandOver(
            set, files: files, memories: memories, places: places, content: content, progress: progress)
        handOver.prepare(made: made.raw, entered: entered, restorer: restorer)
        var context = crestart_tree_context()
        context.finish = { crestart_process_finish($0, $1) }
        context.terminal = { crestart_process_terminal($0, $1) }
        context.foreground = { crestart_process_foreground($0, $1, $2) }
        context.argument = UnsafeMutableRawPointer(handOver.argument)
        (context.process_count, context.slot_count) = (UInt32(set.images.count), tree.slotCount)
        context.limit_ms = 20000
        var pids = [Int32](repeating: 0, count: set.images.count)
        var message = crestart_message()
        let result = crestart_tree_build(tree.steps, tree.steps.count, &context, &pids, &message)
        guard result == 0 else { throw RestartError(message.string, isTaken: -result == EEXIST) }
        made.letGo()
        let arrivals = handOver.arrivals(set, progress)
        return ProgramProcesses(
            pid: pids[set.root], pids: pids, ownSession: set.rootHasOwnSession, arrivals: arrivals, handOver: handOver)
    }
}

/// Descriptors and texts that are handed to the new processes, at fixed addresses.
private final class HandOver {
    private struct Process {
        let plan: OpenFile
        let reading: OpenFile
        let writing: OpenFile
    }
    let argument = UnsafeMutablePointer<crestart_set>.allocate(capacity: 1)
    private var processes: [Process] = []
    private var records: [crestart_process] = []
    private let fixed = FixedMemory()
    private var goReading: OpenFile?
    private var goWriting: OpenFile?

    init(
        _ set: RestartSet, files: [PlanFile], memories: [MemoryPlan], places: [ProgramProcesses.Place],
        content: UnpackedContent, progress: RestartProgress
    ) throws(RestartError) {
        let go = try Self.pipe()
        (goReading, goWriting) = go
        for (index, image) in set.images.enumerated() {
            let file = files[index]
            let plan = try system { () throws(SystemError) in
                let created = file.bytes.withUnsafeBytes { crestart_plan_create($0.baseAddress, $0.count) }
                return OpenFile(OwnedDescriptor(owning: try check(created, "make", "the plan")))
            }
            let status = try Self.pipe()
            processes.append(Process(plan: plan, reading: status.0, writing: status.1))
            var record = crestart_process()
            record.directory = UnsafePointer(fixed.text(places[index].directory))
            (record.plan, record.image) = (plan.raw, content.descriptor(index, of: image))
            (record.status, record.go) = (status.1.raw, go.0.raw)
            record.executable = places[index].executable?.raw ?? -1
            record.progress = progress.descriptor
            let objects = memories[index].descriptors + content.ancestors(index, of: image)
            record.objects = UnsafePointer(fixed.keep(objects))
            record.object_count = UInt32(objects.count)
            record.numbers_offset = file.numbersOffset
            record.terminal = set.innerTerminal(of: image) ?? 0
            records.append(record)
        }
    }

    /// Both ends of a new pipe: the reading one, the writing one.
    private static func pipe() throws(RestartError) -> (OpenFile, OpenFile) {
        let pair = try system { () throws(SystemError) in try OwnedDescriptor.pipe() }
        return (OpenFile(pair.reading), OpenFile(pair.writing))
    }

    func prepare(made: OpaquePointer, entered: Entered, restorer: String) {
        var set = crestart_set()
        set.restorer = UnsafePointer(fixed.text(restorer))
        set.processes = UnsafePointer(fixed.keep(records))
        set.process_count = UInt32(records.count)
        set.made = made
        set.keep_capabilities = entered.layer == .user ? 1 : 0
        argument.initialize(to: set)
    }

    /// The new processes have their descriptors: the ends that only they need are closed here. The end of the go pipe is
    /// the arrivals' alone, which close it when all may run.
    func arrivals(_ set: RestartSet, _ progress: RestartProgress) -> Arrivals {
        let arrivals = Arrivals(
            names: set.images.indices.map { set.messageName($0) }, statuses: processes.map(\.reading), go: goWriting,
            progress: progress)
        processes = []
        (goReading, goWriting) = (nil, nil)
        return arrivals
    }

    deinit {
        argument.deallocate()
    }
}
