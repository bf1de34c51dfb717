import Glibc
import SystemCalls
import Wire

/// What one process said it holds, for the numbering of what processes share.
public struct SurveyedProcess: Equatable, Sendable {
    /// As this host sees it, for kcmp(2).
    public let pid: Int32
    /// For sentences.
    public let label: String
    public let entries: [SurveyEntry]

    public init(pid: Int32, label: String, entries: [SurveyEntry]) {
        (self.pid, self.label, self.entries) = (pid, label, entries)
    }
}

/// Which things that processes hold are one and the same, and which process saves each.
///
/// Descriptions of equal device and inode are candidates; a comparison with a total order (kcmp) decides, so that n
/// candidates which are k different things take n log k comparisons. Shared memory is the same where device and inode
/// are. The owner is the first process, in the order given, that has the thing (or, of memory, this part of it).
struct Sharing {
    /// A descriptor of a process.
    struct Place: Equatable {
        let process: Int
        let number: Int32
    }

    /// One open file description.
    private struct Thing {
        let first: Place
        let identity: UInt64
        /// Another process has it too.
        var isShared = false
    }

    private struct Key: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// Below 0, 0 for the same description, or above 0; a total order.
    typealias Comparison = (Place, Place) throws(SystemError) -> Int

    private let processes: [SurveyedProcess]
    private let compare: Comparison
    private var things: [Thing] = []
    /// For each candidate key: the things found so far, in the comparison's order.
    private var candidates: [Key: [Int]] = [:]
    /// Keys that more than one process has; the others need no comparison.
    private var common: Set<Key> = []
    private var memories: [Key: SharedMemory] = [:]
    private var lastIdentity: UInt64 = 0

    private init(_ processes: [SurveyedProcess], _ compare: @escaping Comparison) {
        (self.processes, self.compare) = (processes, compare)
    }

    /// One list for each process, in its survey's order. Throws what the comparison throws.
    static func assign(
        _ processes: [SurveyedProcess], compare: @escaping Comparison
    ) throws(SystemError) -> [[Assigned]] {
        var sharing = Sharing(processes, compare)
        sharing.findCommon()
        var found: [[Int]] = []
        for index in processes.indices { found.append(try sharing.identify(index)) }
        return processes.indices.map { index in sharing.words(index, found[index]) }
    }

    private mutating func findCommon() {
        var seen: [Key: Int] = [:]
        for (index, process) in processes.enumerated() {
            for entry in process.entries where entry.kind == .description {
                let key = Key(device: entry.device, inode: entry.inode)
                if let other = seen[key], other != index { common.insert(key) }
                seen[key] = index
            }
        }
    }

    /// For each entry of a process its index in `things`, or 1 for memory that this process owns, else 0.
    private mutating func identify(_ process: Int) throws(SystemError) -> [Int] {
        var found: [Int] = []
        found.reserveCapacity(processes[process].entries.count)
        for entry in processes[process].entries {
            let key = Key(device: entry.device, inode: entry.inode)
            switch entry.kind {
            case .description: found.append(try thing(key, Place(process: process, number: entry.number)))
            case .memory: found.append(claim(key, entry, process) ? 1 : 0)
            }
        }
        return found
    }

    private mutating func newIdentity() -> UInt64 {
        lastIdentity += 1
        return lastIdentity
    }

    private mutating func thing(_ key: Key, _ place: Place) throws(SystemError) -> Int {
        // A process names each description once: alone with this key, it is a new one each time.
        guard common.contains(key) else { return add(place) }
        var (low, high) = (0, candidates[key]?.count ?? 0)
        while low < high {
            let middle = (low + high) / 2
            guard let candidate = candidates[key]?[middle] else { break }
            let order = try compare(place, things[candidate].first)
            if order == 0 {
                if things[candidate].first.process != place.process { things[candidate].isShared = true }
                return candidate
            }
            if order < 0 { high = middle } else { low = middle + 1 }
        }
        let index = add(place)
        candidates[key, default: []].insert(index, at: low)
        return index
    }

    private mutating func add(_ place: Place) -> Int {
        things.append(Thing(first: place, identity: newIdentity()))
        return things.count - 1
    }

    private mutating func claim(_ key: Key, _ entry: SurveyEntry, _ process: Int) -> Bool {
        if memories[key] == nil { memories[key] = SharedMemory(identity: newIdentity(), firstProcess: process) }
        let (end, overflow) = entry.offset.addingReportingOverflow(entry.length)
        return memories[key]?.claim(from: entry.offset, to: overflow ? .max : end, process) ?? false
    }

    private func words(_ process: Int, _ found: [Int]) -> [Assigned] {
        zip(processes[process].entries, found).map { entry, index in
            switch entry.kind {
            case .description:
                let thing = things[index]
                let isOwner = thing.first == Place(process: process, number: entry.number)
                return Assigned(identity: thing.identity, isOwner: isOwner, isShared: thing.isShared)
            case .memory:
                let memory = memories[Key(device: entry.device, inode: entry.inode)]
                return Assigned(
                    identity: memory?.identity ?? 0, isOwner: index == 1, isShared: memory?.isShared ?? false)
            }
        }
    }

    /// As GenerationStore's: every failure is a sentence.
    static func carryOut(_ processes: [SurveyedProcess]) -> DiskOutcome {
        do throws(SystemError) {
            return .assigned(
                try assign(processes) { (one, other) throws(SystemError) in
                    try Processes.compareFiles(
                        processes[one.process].pid, one.number, with: processes[other.process].pid, other.number)
                })
        } catch {
            let hint =
                switch error.code {
                case EPERM, EACCES:
                    "a process that has made itself undumpable (prctl) cannot be checkpointed with others"
                case ENOSYS:
                    "the kernel was built without kcmp (CONFIG_KCMP), which a computation of several processes needs"
                default: "one of the processes may have been killed"
                }
            return .failed(code: error.code, text: error.hinting(hint).description)
        }
    }
}

/// Memory that several processes map: which parts have an owner.
private struct SharedMemory {
    let identity: UInt64
    let firstProcess: Int
    var isShared = false
    /// Disjoint, apart from each other, ascending; ends exclusive.
    private var owned: [(start: UInt64, end: UInt64)] = []

    init(identity: UInt64, firstProcess: Int) { (self.identity, self.firstProcess) = (identity, firstProcess) }

    /// True when any part of it had no owner yet.
    mutating func claim(from start: UInt64, to end: UInt64, _ process: Int) -> Bool {
        if process != firstProcess { isShared = true }
        guard start < end else { return false }
        var (low, high) = (0, owned.count)  // the first that ends at or behind the start
        while low < high {
            let middle = (low + high) / 2
            if owned[middle].end < start { low = middle + 1 } else { high = middle }
        }
        if low < owned.count, owned[low].start <= start, owned[low].end >= end { return false }
        var merged = (start: start, end: end)
        var next = low
        while next < owned.count, owned[next].start <= end {
            merged = (min(merged.start, owned[next].start), max(merged.end, owned[next].end))
            next += 1
        }
        owned.replaceSubrange(low..<next, with: [merged])
        return true
    }
}
