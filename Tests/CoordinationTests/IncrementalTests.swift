import CSwiftCP
import Testing
import Wire

@testable import Coordination

@Suite("Incremental images")
struct IncrementalTests {
    @Test("What was asked for reaches the workers; what their images need stands in manifest and reply")
    func needs() {
        var rig = Rig()
        _ = rig.launch(pid: 10) { $0.incremental = SCP_INCREMENTAL_ASKED | 5 }
        let workers = [rig.worker(10), rig.worker(11)]
        rig.complete(begun(&rig, workers))
        #expect(rig.manifests.last?.incremental == false && rig.manifests.last?.needs == nil)
        let command = rig.request(Request(.checkpoint))
        #expect(
            workers.compactMap { rig.takeOrder($0)?.incremental } == [
                SCP_INCREMENTAL_ASKED | 5, SCP_INCREMENTAL_ASKED | 5,
            ])
        rig.feed(.message(workers[0], .ancestors(Ancestors(generation: 2, needed: [1], filePages: [1, 2]))))
        rig.feed(.message(workers[1], .ancestors(Ancestors(generation: 1, needed: [9]))))  // late
        for stage in [Stage.quiesced, .surveyed, .snapshotted, .written] {
            for worker in workers { rig.report(worker, stage, 2) }
        }
        #expect(rig.reply(command)?.checkpoint?.incremental == true)
        #expect(rig.manifests.last?.incremental == true && rig.manifests.last?.needs == [1])
        #expect(rig.manifests.last?.filePages == ["file-pages", "file-pages-000001"])
    }

    private func begun(_ rig: inout Rig, _ workers: [ConnectionID]) -> [ConnectionID] {
        _ = rig.request(Request(.checkpoint))
        return workers
    }

    @Test("A coordinator that is started later knows what was asked for")
    func recalled() {
        var computation = Computation(
            id: "one", serial: 1, name: "counter", checkpointDirectory: "/images", keep: 2, interval: 0,
            incarnation: "first")
        computation.incremental = SCP_INCREMENTAL_ASKED | 7
        var other = computation
        other.incremental = 0
        other.adopt(computation.settings(host: "here"))
        #expect(other.incremental == SCP_INCREMENTAL_ASKED | 7)
    }
}
