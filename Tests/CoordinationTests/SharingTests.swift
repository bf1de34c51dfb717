import Glibc
import SystemCalls
import Testing
import Wire

@testable import Coordination

@Suite("What processes share")
struct SharingTests {
    /// A process whose descriptors are `(number, inode)` on device 1.
    private func process(_ pid: Int32, _ descriptors: [(Int32, UInt64)], memory: [SurveyEntry] = []) -> SurveyedProcess
    {
        SurveyedProcess(
            pid: pid, label: "process \(pid)",
            entries: descriptors.map { SurveyEntry(description: $0.0, device: 1, inode: $0.1) } + memory)
    }

    /// What stands behind the first descriptors of a process.
    private func descriptors(_ count: Int, _ thing: (Int) -> Int) -> [Int32: Int] {
        var all: [Int32: Int] = [:]
        for number in 0..<count { all[Int32(number)] = thing(number) }
        return all
    }

    /// `things[process][number]` names the description behind a descriptor.
    private func assign(
        _ processes: [SurveyedProcess], _ things: [[Int32: Int]] = [], counting count: (() -> Void)? = nil
    ) throws -> [[Assigned]] {
        try Sharing.assign(processes) { (one, other) throws(SystemError) in
            count?()
            guard let left = things[one.process][one.number], let right = things[other.process][other.number] else {
                throw SystemError(EBADF, "compare", "")
            }
            return left - right
        }
    }

    @Test("One description in three processes has one identity, and the first process owns it")
    func shared() throws {
        let processes = [process(1, [(0, 5), (3, 6)]), process(2, [(7, 5)]), process(3, [(0, 5)])]
        let lists = try assign(processes, [[0: 1, 3: 2], [7: 1], [0: 1]])
        #expect(Set(lists.map(\.[0].identity)).count == 1)
        #expect(lists.map(\.[0].isOwner) == [true, false, false])
        #expect(lists.allSatisfy { $0[0].isShared })
        #expect(lists[0][1].identity != lists[0][0].identity)
        #expect(lists[0][1].isOwner && !lists[0][1].isShared)
        #expect(lists.joined().allSatisfy { $0.identity > 0 })
    }

    @Test("One file opened by each process itself is as many descriptions, each its opener's")
    func openedTwice() throws {
        let lists = try assign([process(1, [(3, 5)]), process(2, [(3, 5)])], [[3: 1], [3: 2]])
        #expect(lists[0][0].identity != lists[1][0].identity)
        #expect(lists.joined().allSatisfy { $0.isOwner && !$0.isShared })
    }

    @Test("Several descriptions of one inode in several processes fall into the right classes")
    func classes() throws {
        // Process i has descriptors 0..<20 of one inode; descriptor d of process i is description (d * 7 + i * 3) % 30.
        let things = (0..<6).map { process in descriptors(20) { ($0 * 7 + process * 3) % 30 } }
        let processes = (0..<6).map { index in process(Int32(index + 1), (0..<20).map { (Int32($0), 5) }) }
        let lists = try assign(processes, things)
        var identities: [Int: UInt64] = [:]
        var owners: [UInt64: Int] = [:]
        for process in 0..<6 {
            for number in 0..<20 {
                let thing = things[process][Int32(number)] ?? -1
                let word = lists[process][number]
                #expect(identities[thing, default: word.identity] == word.identity)
                identities[thing] = word.identity
                if word.isOwner { owners[word.identity, default: 0] += 1 }
                let holders = things.filter { $0.values.contains(thing) }.count
                #expect(word.isShared == (holders > 1))
            }
        }
        #expect(Set(identities.values).count == identities.count)
        #expect(owners.count == identities.count && owners.values.allSatisfy { $0 == 1 })
    }

    @Test("What only one process has is not compared; what all have is compared once for each", .timeLimit(.minutes(1)))
    func cost() throws {
        var count = 0
        let alone = [process(1, (0..<500).map { ($0, 5) }), process(2, (0..<500).map { ($0, 6) })]
        _ = try assign(alone) { count += 1 }
        #expect(count == 0)
        let everywhere = (0..<100).map { index in process(Int32(index + 1), (0..<200).map { ($0, UInt64($0)) }) }
        let things = [[Int32: Int]](repeating: descriptors(200) { $0 }, count: 100)
        let lists = try assign(everywhere, things) { count += 1 }
        #expect(count == 99 * 200)
        #expect(Set(lists.joined().map(\.identity)).count == 200)
        // The worst case: as many descriptions of one inode as there are entries.
        count = 0
        let distinct = (0..<100).map { process in descriptors(20) { (process * 20 + $0) * 7919 % 20011 } }
        let crowd = (0..<100).map { index in process(Int32(index + 1), (0..<20).map { ($0, 5) }) }
        _ = try assign(crowd, distinct) { count += 1 }
        #expect(count < 2000 * 12)
    }

    @Test("Memory belongs to the first that covers it; who adds a part owns too")
    func memory() throws {
        func piece(_ offset: UInt64, _ length: UInt64, inode: UInt64 = 9) -> SurveyEntry {
            SurveyEntry(memory: inode, device: 1, offset: offset, length: length)
        }
        let processes = [
            process(1, [], memory: [piece(4096, 8192), piece(20480, 4096)]),
            process(2, [], memory: [piece(4096, 4096), piece(0, 8192), piece(12288, 8192), piece(0, 24576)]),
            process(3, [], memory: [piece(0, 24576), piece(0, 28672), piece(8, 8, inode: 10)]),
            process(4, [], memory: [piece(.max - 8, 4096, inode: 11)]),
        ]
        let lists = try assign(processes)
        #expect(lists[0].map(\.isOwner) == [true, true])
        #expect(lists[1].map(\.isOwner) == [false, true, true, false])
        #expect(lists[2].map(\.isOwner) == [false, true, true])
        #expect(lists[3].map(\.isOwner) == [true])
        let identities = Set((lists[0] + lists[1] + lists[2].prefix(2)).map(\.identity))
        #expect(identities.count == 1)
        #expect(lists[2][2].identity != lists[2][0].identity)
        #expect(!lists[2][2].isShared && !lists[3][0].isShared && lists[0].allSatisfy(\.isShared))
    }

    @Test("A comparison that is not allowed is a sentence with the reason")
    func refused() throws {
        let outcome = Sharing.carryOut([process(1, [(0, 5)]), process(getpid(), [(0, 5)])])
        // Process 1 is not this user's, unless root runs the tests: then descriptor 0 of one of them decides.
        if getuid() != 0 {
            guard case .failed(let code, let text) = outcome else {
                Issue.record("it was allowed")
                return
            }
            #expect(code == EPERM && text.contains("cannot compare descriptor 0 of process"))
        }
        let gone = Sharing.carryOut([process(getpid(), [(9999, 5)]), process(getpid(), [(9998, 5)])])
        guard case .failed(let code, let text) = gone else {
            Issue.record("descriptors that are none were compared")
            return
        }
        #expect(code == EBADF && text.contains("Bad file descriptor"))
    }

    @Test("The kernel's comparison tells a duplicate from a second open")
    func kernel() throws {
        let file = try Files.open("/dev/null", O_RDONLY)
        let duplicate = dup(file.raw)
        defer { close(duplicate) }
        let other = try Files.open("/dev/null", O_RDONLY)
        let own = getpid()
        #expect(try Processes.compareFiles(own, file.raw, with: own, duplicate) == 0)
        let order = try Processes.compareFiles(own, file.raw, with: own, other.raw)
        #expect(order != 0)
        #expect(try Processes.compareFiles(own, other.raw, with: own, duplicate) == -order)
        // Two processes' surveys, both of this process: it is what kcmp is asked that counts.
        let outcome = Sharing.carryOut([
            process(own, [(file.raw, 5), (other.raw, 5)]), process(own, [(duplicate, 5)]),
        ])
        guard case .assigned(let lists) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(lists[1][0].identity == lists[0][0].identity && lists[1][0].identity != lists[0][1].identity)
        #expect(lists[0][0].isOwner && !lists[1][0].isOwner && lists[1][0].isShared && !lists[0][1].isShared)
    }
}
