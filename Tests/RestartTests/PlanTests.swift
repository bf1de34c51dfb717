import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import SystemCalls
import Testing

@testable import Restart

@Suite("The plan's bytes")
struct PlanTests {
    private func table<Record>(_ bytes: [UInt8], _ table: scp_plan_table, as type: Record.Type) -> [Record] {
        bytes.withUnsafeBytes { raw in
            (0..<Int(table.count)).map {
                raw.loadUnaligned(fromByteOffset: Int(table.offset) + $0 * MemoryLayout<Record>.stride, as: type)
            }
        }
    }

    @Test("Every table is aligned and in the plan; threads begin with ours and end with the leader")
    func layout() throws {
        var builder = ImageBuilder.small()
        builder.descriptors = [3, 5, 9].map {
            scp_descriptor(number: $0, object: 0, close_on_exec: $0 == 5 ? 0 : 1, reserved: 0)
        }
        let fixture = try Fixture(builder)
        let memory = try memoryPlan(fixture.image, try options())
        var settings = PlanFile.Settings()
        settings.computation = "abc"
        let file = PlanFile(fixture.image, memory: memory, settings: settings)
        let plan = file.bytes.withUnsafeBytes { $0.loadUnaligned(as: scp_plan.self) }
        #expect(plan.magic == 0x014e_414c_5050_4353 && plan.version == SCP_PLAN_VERSION)
        #expect(plan.length == UInt64(file.bytes.count) && plan.size == UInt32(MemoryLayout<scp_plan>.size))
        for entry in [plan.regions, plan.pieces, plan.threads, plan.descriptors, plan.strings, plan.arrival] {
            #expect(entry.offset % 16 == 0 && entry.offset >= UInt64(plan.size) && entry.offset < plan.length)
        }
        let threads = table(file.bytes, plan.threads, as: scp_plan_thread.self)
        #expect(threads.map(\.tid) == [1235, 1236, 1234])
        #expect(table(file.bytes, plan.descriptors, as: Int32.self) == [-1, -1, -1, -1, -1, -1])
        #expect(table(file.bytes, plan.on_exec, as: Int32.self) == [3, 9])
        let arrival = try #require(table(file.bytes, plan.arrival, as: scp_arrival.self).first)
        #expect(arrival.user_threads == 2)
        let id = withUnsafeBytes(of: arrival.computation) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        #expect(id == "abc")
        #expect(plan.flags == SCP_PLAN_SET_TIDS.rawValue)
    }

    @Test("The restorer refuses what is no plan", arguments: [0, 100, 5000])
    func restorerRefuses(length: Int) throws {
        let bytes = [UInt8](repeating: 7, count: length)
        let restorer = try NativeFiles.restorer()
        let memfd = bytes.withUnsafeBytes { crestart_plan_create($0.baseAddress, $0.count) }
        try #require(memfd >= 0)
        defer { close(memfd) }
        var state = scp_child()
        let pid = scp_fork()
        if pid == 0 {
            scp_set_close_on_exec(memfd, 0)
            let words: [UnsafeMutablePointer<CChar>?] = [strdup("swiftcp_restorer"), strdup("\(memfd)"), nil]
            execve(restorer, words, [nil])
            _exit(99)
        }
        try #require(pid > 0)
        let limit = Instant.now.advanced(seconds: 10)
        while Instant.now < limit, scp_child_state(pid, &state) == 0, state.event == SCP_CHILD_NONE.rawValue {
            _ = poll(nil, 0, 1)
        }
        #expect(state.event == SCP_CHILD_EXITED.rawValue && state.value == 121)
    }

    @Test("Strings are kept once; the empty one is number 0")
    func strings() {
        var table = StringTable()
        #expect(table.add([]) == 0)
        let first = table.add(Array("/a".utf8))
        #expect(first == 1 && table.add(Array("/b".utf8)) == 4 && table.add(Array("/a".utf8)) == first)
        #expect(table.bytes == [0, 0x2f, 0x61, 0, 0x2f, 0x62, 0])
    }
}

@Suite("What restorer and shim say")
struct ReportTests {
    private func report(_ state: scp_arrival_state, _ text: String) -> [UInt8] {
        var report = scp_arrival_report()
        report.state = state.rawValue
        withUnsafeMutableBytes(of: &report.text) { $0.copyBytes(from: Array(text.utf8)) }
        return withUnsafeBytes(of: report) { Array($0) }
    }

    @Test("Records that come in pieces are put together; half a record at the end is none")
    func pieces() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { close(ends[0]) }
        var reader = ReportReader()
        let bytes = report(SCP_ARRIVAL_WARNING, "one") + report(SCP_ARRIVAL_RESTORED, "two")
        #expect(reader.next(from: ends[0]) == nil)
        try #require(write(ends[1], bytes, 100) == 100)
        #expect(reader.next(from: ends[0]) == nil)
        try #require(write(ends[1], Array(bytes[100...]), bytes.count - 100) == bytes.count - 100)
        #expect(reader.next(from: ends[0])?.state == SCP_ARRIVAL_WARNING.rawValue)
        #expect(reader.next(from: ends[0])?.state == SCP_ARRIVAL_RESTORED.rawValue)
        try #require(write(ends[1], bytes, 10) == 10)
        close(ends[1])
        #expect(reader.next(from: ends[0]) == nil)
        #expect(reader.isAtEnd)
    }
}
