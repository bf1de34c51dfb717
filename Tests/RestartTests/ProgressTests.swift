import CRestart
import CSwiftCP
import Glibc
import Testing

@testable import Restart

@Suite("How far a restart is")
struct ProgressTests {
    private func counting(_ body: (UnsafeMutablePointer<crestart_progress>) -> Void) {
        var progress = crestart_progress()
        #expect(crestart_progress_open(&progress) == 0)
        body(&progress)
        crestart_progress_close(&progress)
    }

    @Test("Whoever has the page counts, and a new attempt begins at nothing")
    func counter() {
        counting { progress in
            crestart_progress_add(progress, 5)
            let page = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, progress.pointee.memory, 0)
            #expect(page != MAP_FAILED)
            page?.assumingMemoryBound(to: scp_plan_progress.self).pointee.done += 7
            #expect(crestart_progress_done(progress) == 12)
            munmap(page, 4096)
            crestart_progress_reset(progress)
            #expect(crestart_progress_done(progress) == 0)
        }
    }

    @Test("Without a page nobody counts")
    func none() {
        var progress = crestart_progress(memory: -1, done: nil)
        crestart_progress_add(&progress, 5)
        crestart_progress_reset(&progress)
        #expect(crestart_progress_done(&progress) == 0)
        crestart_progress_close(&progress)
    }

    @Test("Where no line is shown nothing is handed to the restorers, and nobody needs to look")
    func silent() {
        let progress = RestartProgress(quietness: 1)
        #expect(progress.descriptor == -1)
        #expect(progress.pace == nil)
        #expect(progress.onlooking { $0 == nil })
        progress.end()
    }
}
