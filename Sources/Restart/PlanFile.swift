import CSwiftCP
import ImageFormat

/// The bytes of a plan (`swiftcp_plan.h`).
struct PlanFile {
    private(set) var bytes: [UInt8]
    /// Where the table of descriptors stands: the new process completes it.
    let numbersOffset: UInt64

    struct Settings {
        var setTids = true
        /// As `SCP_ARRIVAL_*`.
        var arrivalFlags: UInt32 = 0
        /// What the program belongs to from now on.
        var coordinator = ""
        var computation = ""
        var checkpointDirectory = ""
        var vdso: VDSOPlan = .move
        /// The image, or most of what it needs, is not in the page cache.
        var isCold = false
    }

    init(_ image: Image, memory: MemoryPlan, settings: Settings) {
        var plan = scp_plan()
        var body = Tables(start: (MemoryLayout<scp_plan>.size + 15) / 16 * 16)
        plan.regions = body.add(memory.regions)
        plan.pieces = body.add(memory.pieces)
        plan.objects = body.add(memory.objects)
        plan.threads = body.add(Self.threads(image))
        plan.ancestors = SCP_PLAN_DESCRIPTOR_OBJECTS.rawValue + UInt32(memory.descriptors.count)
        plan.ancestor_count = UInt32(image.needs.count)
        let count = Int(plan.ancestors + plan.ancestor_count) + memory.objects.count
        plan.descriptors = body.add([Int32](repeating: -1, count: count))
        plan.on_exec = body.add(image.descriptors.filter { $0.close_on_exec != 0 }.map(\.number))
        if case .trampolines(let symbols) = settings.vdso {
            plan.flags |= SCP_PLAN_TRAMPOLINES.rawValue
            plan.symbols = body.add(symbols)
        } else {
            plan.symbols = body.add([scp_plan_symbol]())
        }
        plan.auxiliary = body.add(Self.auxiliary(image))
        plan.auxiliary.count *= 8
        plan.strings = body.add(memory.strings.bytes)
        plan.arrival = body.add([Self.arrival(image, settings)])
        if settings.isCold { plan.flags |= SCP_PLAN_COLD.rawValue }
        if settings.setTids { plan.flags |= SCP_PLAN_SET_TIDS.rawValue }
        plan.personality = image.process.personality
        numbersOffset = plan.descriptors.offset
        let head = Self.head(plan, image, length: body.end)
        bytes = head + [UInt8](repeating: 0, count: body.start - head.count) + body.bytes
    }

    private static func head(_ tables: scp_plan, _ image: Image, length: Int) -> [UInt8] {
        var plan = tables
        let (header, process) = (image.header, image.process)
        plan.magic = 0x014e_414c_5050_4353
        plan.version = SCP_PLAN_VERSION
        plan.size = UInt32(MemoryLayout<scp_plan>.size)
        plan.length = UInt64(length)
        (plan.vdso_start, plan.vdso_length) = (header.vdso_start, header.vdso_length)
        (plan.vvar_start, plan.vvar_length) = (header.vvar_start, header.vvar_length)
        (plan.start_code, plan.end_code) = (process.start_code, process.end_code)
        (plan.start_data, plan.end_data) = (process.start_data, process.end_data)
        (plan.start_brk, plan.brk, plan.start_stack) = (process.start_brk, process.brk, process.start_stack)
        (plan.arguments_start, plan.arguments_end) = (process.arguments_start, process.arguments_end)
        (plan.environment_start, plan.environment_end) = (process.environment_start, process.environment_end)
        return withUnsafeBytes(of: plan) { Array($0) }
    }

    /// The checkpoint thread first, the leader, which goes last, at the end.
    private static func threads(_ image: Image) -> [scp_plan_thread] {
        let header = image.header
        return (image.threads.suffix(1) + image.threads.dropFirst().dropLast() + image.threads.prefix(1)).map {
            thread in
            var plan = scp_plan_thread()
            let isOurs = thread.isCheckpointThread
            (plan.tid, plan.flags) = (thread.tid, thread.flags)
            plan.entry = isOurs ? header.checkpoint_entry : header.thread_entry
            plan.argument = isOurs ? header.checkpoint_argument : thread.slot
            (plan.stack, plan.fs_base, plan.gs_base) = (thread.stack, thread.fs_base, thread.gs_base)
            plan.clear_child_tid = thread.clear_child_tid
            return plan
        }
    }

    /// Without what follows its end: another kernel may have room for less.
    private static func auxiliary(_ image: Image) -> [UInt64] {
        var result: [UInt64] = []
        for index in stride(from: 0, to: image.auxiliaryVector.count - 1, by: 2) {
            result += image.auxiliaryVector[index...index + 1]
            if image.auxiliaryVector[index] == 0 { break }
        }
        return result
    }
}

extension PlanFile {
    /// What the restorer fills in stays zero.
    private static func arrival(_ image: Image, _ settings: Settings) -> scp_arrival {
        var arrival = scp_arrival()
        arrival.flags = settings.arrivalFlags
        arrival.user_threads = UInt32(image.threads.count - 1)
        arrival.status_descriptor = -1
        arrival.go_descriptor = -1
        copy(settings.coordinator, &arrival.coordinator)
        copy(settings.computation, &arrival.computation)
        copy(settings.checkpointDirectory, &arrival.checkpoint_directory)
        withUnsafeMutableBytes(of: &arrival.streams) { bytes in
            for number in 0...2 {
                var status = scp_stat()
                guard scp_fstat(Int32(number), &status) == 0 else { continue }
                bytes.storeBytes(of: status.device, toByteOffset: 16 * number, as: UInt64.self)
                bytes.storeBytes(of: status.inode, toByteOffset: 16 * number + 8, as: UInt64.self)
            }
        }
        return arrival
    }

    /// Cut where it does not fit; the rest is zero.
    private static func copy<Field>(_ text: String, _ field: inout Field) {
        withUnsafeMutableBytes(of: &field) { bytes in
            let utf8 = Array(text.utf8.prefix(bytes.count - 1))
            bytes.copyBytes(from: utf8)
        }
    }
}

/// Tables one after the other, each on a multiple of 16 bytes.
private struct Tables {
    let start: Int
    var bytes: [UInt8] = []
    var end: Int { start + bytes.count }

    init(start: Int) {
        precondition(start % 16 == 0, "the plan's header is no multiple of 16 bytes")
        self.start = start
    }

    mutating func add<Record: BitwiseCopyable>(_ records: [Record]) -> scp_plan_table {
        let table = scp_plan_table(offset: UInt64(end), count: UInt64(records.count))
        records.withUnsafeBytes { bytes.append(contentsOf: $0) }
        bytes += [UInt8](repeating: 0, count: (16 - bytes.count % 16) % 16)
        return table
    }
}
