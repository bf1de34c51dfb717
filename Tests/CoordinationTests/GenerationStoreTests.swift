import Glibc
import ImageFormat
import SystemCalls
import Testing

@testable import Coordination

/// A folder of its own that is gone afterwards.
final class Scratch {
    let path: String

    init() {
        var template = Array("/tmp/swiftcp-coordination-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    }

    deinit { try? Files.removeTree(path) }
}

private struct Missing: Error {}

@Suite("Generations on disk")
struct GenerationStoreTests {
    private let scratch = Scratch()
    private var images: String { scratch.path + "/images" }
    private var folder: String { images + "/ckpt_counter_1a2b" }

    private func settings(_ incarnation: String, name: String = "counter") -> ComputationSettings {
        ComputationSettings(
            incarnation: incarnation, host: "node7", name: name, command: ["./counter", "5"], directory: "/", keep: 3,
            interval_s: 2.5, snapshot: 3, checkpoint_flags: 1)
    }

    private func prepare(
        lowest: UInt32 = 1, name: String = "counter", incarnation: String = "first", owned: Bool = false
    ) -> DiskOutcome {
        GenerationStore.carryOut(
            .prepare(
                directory: images, id: "1a2b", lowest: lowest, settings: settings(incarnation, name: name), owned: owned
            ))
    }

    private func commit(
        _ generation: UInt32, incarnation: String = "first", unsynced: [String] = [], needs: [UInt32] = [],
        filePages: [String]? = nil
    ) -> DiskOutcome {
        var manifest = manifest(generation, needs: needs)
        manifest.filePages = filePages
        return GenerationStore.carryOut(
            .commit(folder: folder, manifest: manifest, incarnation: incarnation, unsynced: unsynced))
    }

    /// What is in the computation's folder, hidden files left out.
    private func visible() throws -> [String] { try Files.list(folder).filter { !$0.hasPrefix(".comp") } }

    private func manifest(_ generation: UInt32, needs: [UInt32] = []) -> Manifest {
        Manifest(
            computation: .init(id: "1a2b", name: "counter", command: ["./counter"], directory: "/"),
            generation: generation, createdAt: "2026-11-21T00:00:00.000Z", host: "h", kernel: "k", snapshot: "stop",
            needs: needs, pauseMs: 1, durationMs: 2, bytesWritten: 5,
            processes: [.init(pid: 10, name: "counter", image: "counter_10.swiftcp", bytes: 5, metadataChecksum: 1)])
    }

    /// A complete generation; returns its path.
    private func make(_ lowest: UInt32 = 1, needs: [UInt32] = []) throws -> String? {
        guard case .prepared(_, let generation, let partial) = prepare(lowest: lowest) else { return nil }
        try Files.write(Array("image".utf8), to: partial + "/counter_10.swiftcp")
        guard
            case .committed(let path) = commit(generation, needs: needs)
        else { return nil }
        return path
    }

    @Test("What a generation has added of mapped files is linked into the next ones, up to a limit, while they need it")
    func filePages() throws {
        var found: [[String]] = []
        for number in UInt32(1)...11 {
            guard case .prepared(_, _, let partial) = prepare() else { throw Missing() }
            let links = try Files.list(partial)
            found.append(links)
            try Files.write(Array("image".utf8), to: partial + "/counter_10.swiftcp")
            try Files.write(Array("added by \(number)".utf8), to: partial + "/file-pages")
            guard case .committed = commit(number, filePages: links + ["file-pages"]) else { throw Missing() }
            #expect(GenerationStore.carryOut(.prune(folder: folder, newest: number, keep: 1)) == .done)
        }
        #expect(found[0] == [] && found[1] == ["file-pages-000001"])
        #expect(found[2] == ["file-pages-000001", "file-pages-000002"])
        // Eight of them and its own: the next one begins anew.
        #expect(found[8].count == 8 && found[9] == [] && found[10] == ["file-pages-000010"])
        let path = folder + "/gen-000011/file-pages-000010"
        #expect(String(decoding: try Files.read(path, limit: 100), as: UTF8.self) == "added by 10")
        guard case .prepared(_, _, let partial) = prepare() else { throw Missing() }
        try Files.write(Array("image".utf8), to: partial + "/counter_10.swiftcp")
        guard case .committed(let last) = commit(12, filePages: ["file-pages-000011"]) else { throw Missing() }
        #expect(try Files.list(last) == ["counter_10.swiftcp", "file-pages-000011", "manifest.json"])
    }

    @Test("A generation appears whole: images, manifest, final name, latest")
    func commit() throws {
        #expect(prepare() == .prepared(folder: folder, generation: 1, partial: folder + "/.gen-000001.partial"))
        #expect(try Files.status(folder).permissions == 0o700)
        #expect(try make() == folder + "/gen-000001")
        #expect(try visible() == ["gen-000001", "latest"])
        #expect(try Files.list(folder + "/gen-000001") == ["counter_10.swiftcp", "manifest.json"])
        #expect(try Files.readLink(folder + "/latest") == "gen-000001")
        #expect(try ComputationFolder(path: folder).newestComplete()?.manifest() == manifest(1))
        #expect(try Files.status(folder + "/gen-000001/manifest.json").permissions == 0o600)
    }

    @Test("Images of processes that are no part of it are removed; those that may not be durable are synced")
    func leftovers() throws {
        guard case .prepared(_, _, let partial) = prepare() else { return }
        for name in ["counter_10.swiftcp", "sh_10.swiftcp"] {
            try Files.write(Array("image".utf8), to: partial + "/" + name)
        }
        guard case .failed = commit(1, unsynced: ["gone_11.swiftcp"]) else {
            Issue.record("an image that is not there was synced")
            return
        }
        #expect(commit(1, unsynced: ["counter_10.swiftcp"]) == .committed(path: folder + "/gen-000001"))
        #expect(try Files.list(folder + "/gen-000001") == ["counter_10.swiftcp", "manifest.json"])
    }

    @Test("What a kept generation needs is kept, and goes when nothing needs it any more")
    func needed() throws {
        let chain: [[UInt32]] = [[], [1], [2], [], [4], [4]]
        for needs in chain { _ = try make(needs: needs) }
        func prune(_ newest: UInt32, _ keep: UInt32) throws -> [String] {
            let operation = DiskOperation.prune(folder: folder, newest: newest, keep: keep)
            #expect(GenerationStore.carryOut(operation) == .done)
            return try visible().filter { $0 != "latest" }.map { String($0.suffix(1)) }
        }
        #expect(try prune(3, 1) == ["1", "2", "3", "4", "5", "6"])  // 3 needs 2, which needs 1
        #expect(try prune(4, 1) == ["4", "5", "6"])
        #expect(try prune(6, 1) == ["4", "6"])
        try Files.write(Array("nonsense".utf8), to: folder + "/gen-000006/manifest.json")
        #expect(try prune(6, 1) == ["4", "6"])  // nobody knows what it needs
    }

    @Test("A generation whose ancestor has gone is not committed")
    func orphan() throws {
        _ = try make()
        guard case .prepared(_, let generation, let partial) = prepare() else { return }
        try Files.write(Array("image".utf8), to: partial + "/counter_10.swiftcp")
        try Files.removeTree(folder + "/gen-000001")
        guard case .failed(let code, let text) = commit(generation, needs: [1]) else {
            Issue.record("committed without its ancestor")
            return
        }
        #expect(code == ENOENT)
        #expect(text.contains("gen-000001"))
    }

    @Test("Numbers go on above what is there, and what was cut short is removed")
    func numbers() throws {
        _ = try make()
        #expect(try make(7) == folder + "/gen-000007")
        try Files.makeDirectory(folder + "/gen-000020")  // without manifest: somebody else's, cut short
        try Files.makeDirectory(folder + "/.gen-000009.partial")
        try Files.write([1], to: folder + "/.gen-000009.partial/x")
        #expect(try make(3) == folder + "/gen-000021")
        #expect(try visible() == ["gen-000001", "gen-000007", "gen-000020", "gen-000021", "latest"])
        #expect(try Files.readLink(folder + "/latest") == "gen-000021")
    }

    @Test("The computation's folder is found by its id, whatever the program is called now")
    func otherName() throws {
        _ = try make()
        #expect(
            prepare(name: "python3")
                == .prepared(folder: folder, generation: 2, partial: folder + "/.gen-000002.partial"))
    }

    @Test("The settings are found again by the id; nonsense there is as good as nothing")
    func recall() throws {
        let recall = DiskOperation.recall(directory: images, id: "1a2b")
        #expect(GenerationStore.carryOut(recall) == .recalled(nil))
        _ = prepare()
        #expect(GenerationStore.carryOut(recall) == .recalled(settings("first")))
        for nonsense in ["", "{", "[]", #"{"schema_version":1}"#] {
            try Files.write(Array(nonsense.utf8), to: folder + "/" + ComputationSettings.fileName)
            #expect(GenerationStore.carryOut(recall) == .recalled(nil))
        }
    }

    @Test("A copy that was replaced by a later one adds nothing any more, before or after its workers wrote")
    func fencing() throws {
        _ = try make()
        guard case .prepared(_, let generation, let partial) = prepare(owned: true) else {
            Issue.record("the owner was refused")
            return
        }
        try Files.write([1], to: partial + "/counter_10.swiftcp")
        _ = prepare(incarnation: "second")  // restarted elsewhere
        guard case .failed(_, let atCommit) = commit(generation),
            case .failed(let code, let text) = prepare(owned: true)
        else {
            Issue.record("the earlier copy still publishes")
            return
        }
        #expect(code == EPERM)
        #expect(text.contains("node7") && atCommit == text)
        #expect(try ComputationFolder(path: folder).newestComplete()?.number == 1)
    }

    @Test("Older complete generations are removed, down to the number kept, the newest never")
    func prune() throws {
        for _ in 1...4 { _ = try make() }
        #expect(GenerationStore.carryOut(.prune(folder: folder, newest: 4, keep: 2)) == .done)
        #expect(try visible() == ["gen-000003", "gen-000004", "latest"])
        #expect(GenerationStore.carryOut(.prune(folder: folder, newest: 4, keep: 0)) == .done)
        #expect(try visible() == ["gen-000004", "latest"])
        // One that is newer than ours belongs to another incarnation: hands off.
        _ = try make()
        #expect(GenerationStore.carryOut(.prune(folder: folder, newest: 4, keep: 1)) == .done)
        #expect(try visible() == ["gen-000004", "gen-000005", "latest"])
    }

    @Test("A discarded generation leaves nothing; discarding what is not there is no error")
    func discard() throws {
        _ = try make()
        _ = prepare()
        #expect(GenerationStore.carryOut(.discard(folder: folder, generation: 2)) == .done)
        #expect(try visible() == ["gen-000001", "latest"])
        #expect(GenerationStore.carryOut(.discard(folder: folder, generation: 2)) == .done)
    }

    @Test("A missing or empty image is no generation")
    func missingImage() throws {
        for content in [nil, [UInt8]()] {
            guard case .prepared(_, let generation, let partial) = prepare() else { return }
            if let content { try Files.write(content, to: partial + "/counter_10.swiftcp") }
            guard case .failed = commit(generation)
            else {
                Issue.record("committed without an image")
                return
            }
            #expect(try ComputationFolder(path: folder).newestComplete() == nil)
            _ = GenerationStore.carryOut(.discard(folder: folder, generation: generation))
        }
    }

    @Test("A generation whose link cannot be made is taken back whole")
    func linkFails() throws {
        _ = try make()
        try Files.unlink(folder + "/latest")
        try Files.makeDirectory(folder + "/latest")  // nothing can be renamed over a folder
        guard case .prepared(_, let generation, let partial) = prepare() else {
            Issue.record("not prepared")
            return
        }
        try Files.write([1], to: partial + "/counter_10.swiftcp")
        guard case .failed = commit(generation) else {
            Issue.record("committed without the link")
            return
        }
        #expect(try ComputationFolder(path: folder).generations().map(\.number) == [1])
    }

    @Test("A folder that vanished before the manifest gives one sentence and no crash")
    func vanished() throws {
        _ = prepare()
        try Files.removeTree(images)
        guard
            case .failed(let code, let text) = commit(1)
        else {
            Issue.record("committed into nothing")
            return
        }
        #expect(code == ENOENT)
        #expect(text.contains("counter_10.swiftcp") && text.contains("--ckptdir"))
    }

    @Test("A checkpoint folder that is a file is refused with its name")
    func notAFolder() throws {
        try Files.write([1], to: images)
        guard case .failed(let code, let text) = prepare() else {
            Issue.record("prepared in a file")
            return
        }
        #expect(code == ENOTDIR)
        #expect(text.contains(images))
    }

    @Test(
        "A full disk fails the commit, the older generation stays", .enabled(if: getuid() == 0, "mounts a small tmpfs"))
    func diskFull() throws {
        try Files.makeDirectory(images)
        guard mountSmall(images) else { return }
        defer { umount2(images, 2) }
        let first = try make()
        #expect(first != nil)
        guard case .prepared(_, _, let partial) = prepare() else {
            Issue.record("not prepared")
            return
        }
        try Files.write(Array("image".utf8), to: partial + "/counter_10.swiftcp")
        let filler = try Files.open(partial + "/filler", O_WRONLY | O_CREAT, mode: 0o600)
        #expect(throws: SystemError.self) { try filler.write([UInt8](repeating: 1, count: 1 << 20)) }
        guard
            case .failed(let code, let text) = commit(2)
        else {
            Issue.record("committed on a full disk")
            return
        }
        #expect(code == ENOSPC)
        #expect(text.contains("No space left on device"))
        #expect(GenerationStore.carryOut(.discard(folder: folder, generation: 2)) == .done)
        #expect(try ComputationFolder(path: folder).newestComplete()?.path == first)
        #expect(try visible() == ["gen-000001", "latest"])
    }

    /// 64 KiB of tmpfs; false where mounting is not allowed.
    private func mountSmall(_ path: String) -> Bool {
        mount("none", path, "tmpfs", 0, "size=64k") == 0
    }

    @Test("Growth of images is measured in bytes on the disk")
    func measure() throws {
        let file = scratch.path + "/image"
        try Files.write([UInt8](repeating: 1, count: 10000), to: file)
        guard case .measured(let bytes) = GenerationStore.carryOut(.measure([file, scratch.path + "/absent"])) else {
            Issue.record("not measured")
            return
        }
        #expect(bytes >= 8192)
    }
}

@Suite("Dates")
struct MomentTests {
    @Test(
        "Wall-clock times as ISO 8601",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"), (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ])
    func dates(seconds: Int64, text: String) {
        let moment = Moment(monotonic: Instant(nanoseconds: 0), wall: seconds * 1_000_000_000 + 999)
        #expect(moment.text == text)
    }
}
