import Formats
import Glibc
import Testing

@testable import ImageFormat

@Suite struct GenerationsTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: [("gen-000001", 1), ("gen-999999", 999_999), ("gen-1000000", 1_000_000)] as [(String, UInt32)])
    func namesOfGenerationsGoBothWays(_ name: String, _ number: UInt32) {
        #expect(CheckpointNames.generation(number) == name)
        #expect(CheckpointNames.generationNumber(name) == number)
        #expect(CheckpointNames.isPartialGeneration(CheckpointNames.partialGeneration(number)))
        #expect(CheckpointNames.generationNumber(CheckpointNames.partialGeneration(number)) == nil)
    }

    @Test(arguments: [
        "gen-000000", "gen-1", "gen-0000001", "gen-99999999999", "gen-00000a", "gen-", "Gen-000001", "gen-+00001",
        "gen--00001", "gen-000001 ", "", "latest",
    ])
    func otherNamesAreNoGenerations(_ name: String) {
        #expect(CheckpointNames.generationNumber(name) == nil)
    }

    @Test func namesOfImagesGoBothWays() {
        #expect(ImageName(name: "my prog", pid: 7).fileName == "my_prog_7.swiftcp")
        #expect(ImageName("my_prog_7.swiftcp") == ImageName(name: "my_prog", pid: 7))
        #expect(ImageName(name: "", pid: 7).fileName == "program_7.swiftcp")
        #expect(ImageName(name: "../etc", pid: 7).fileName == "_._etc_7.swiftcp")
        #expect(ImageName("a/b_7.swiftcp") == nil)
        #expect(ImageName("b_07.swiftcp") == nil)
        #expect(ImageName("_7.swiftcp") == nil)
    }

    /// Makes `ckpt_counter_x1` with the generations; those of `complete` get a manifest and an image.
    private func computation(_ numbers: [UInt32], complete: Set<UInt32>) throws -> String {
        for number in numbers {
            let name = "ckpt_counter_x1/" + CheckpointNames.generation(number)
            try folder.write([], name + "/counter_12.swiftcp")
            guard complete.contains(number) else { continue }
            var manifest = Manifest.example()
            manifest.generation = number
            try folder.write(manifest.encoded(), name + "/manifest.json")
        }
        return folder.path + "/ckpt_counter_x1"
    }

    @Test func generationsAreListedInOrderAndTheNewestCompleteOneIsFound() throws {
        let path = try computation([1, 2, 10, 11], complete: [2, 10])
        mkdir(path + "/" + CheckpointNames.partialGeneration(12), 0o700)
        let computation = ComputationFolder(path: path)
        #expect(try computation.generations().map(\.number) == [1, 2, 10, 11])
        #expect(try computation.generations().map(\.isComplete) == [false, true, true, false])
        #expect(try computation.newestComplete()?.number == 10)
        #expect(try computation.newestComplete()?.manifest().generation == 10)
        #expect(try computation.partialGenerations() == [".gen-000012.partial"])
        #expect(try ComputationFolder(path: path + "/nothing").generations() == [])
    }

    @Test func aFolderStandsForItsNewestCompleteGeneration() throws {
        let path = try computation([1, 2], complete: [1])
        let image = path + "/gen-000001/counter_12.swiftcp"
        for argument in [path, path + "/", path + "/gen-000001", path + "/gen-000001/"] {
            let selection = try Selection.resolve(argument)
            #expect(selection.images == [image])
            #expect(selection.named == nil)
            #expect(selection.manifest?.generation == 1)
            #expect(try Selection.single(argument) == image)
        }
        symlink("gen-000001", path + "/latest")
        #expect(try Selection.resolve(path + "/latest").images == [path + "/latest/counter_12.swiftcp"])
    }

    @Test func anImageOfASetStandsForTheSet() throws {
        let path = try computation([1], complete: [1])
        let image = path + "/gen-000001/counter_12.swiftcp"
        let selection = try Selection.resolve(image)
        #expect(selection.named == image)
        #expect(selection.folder == path + "/gen-000001")
        try folder.write([], "ckpt_counter_x1/gen-000001/other_5.swiftcp")
        #expect(throws: ImageError.self) { try Selection.resolve(path + "/gen-000001/other_5.swiftcp") }
    }

    @Test func anImageAloneNeedsNoManifest() throws {
        let path = try folder.write([], "alone.swiftcp")
        #expect(try Selection.resolve(path) == Selection(images: [path], named: path, folder: nil, manifest: nil))
    }

    @Test func whatCannotBeResolvedIsExplained() throws {
        func text(_ path: String) -> String {
            let error = #expect(throws: ImageError.self) { try Selection.resolve(path) }
            #expect(error?.exitStatus == 4)
            return error?.text ?? ""
        }
        let path = try computation([1], complete: [])
        #expect(text(path) == "no generation in it is complete (none has a manifest.json)")
        #expect(text(path + "/gen-000001").hasPrefix("an incomplete generation"))
        #expect(text(folder.path) == "holds computations, not images; name one of them: ckpt_counter_x1")
        #expect(text(folder.path + "/nothing") == "no such file or folder")
        #expect(text("/dev/null") == "neither a file nor a folder")
        mkdir(folder.path + "/empty", 0o700)
        #expect(text(folder.path + "/empty") == "no checkpoint in this folder")
    }

    @Test func anImageThatTheManifestNamesMustBeThereAndBeTheOne() throws {
        let path = try computation([1], complete: [1])
        let image = path + "/gen-000001/counter_12.swiftcp"
        try folder.write(ImageBuilder.small().bytes(), "ckpt_counter_x1/gen-000001/counter_12.swiftcp")
        #expect(throws: ImageError.self) { try Selection.resolve(path).open(image) }
        unlink(image)
        let error = #expect(throws: ImageError.self) { try Selection.resolve(path) }
        #expect(error?.kind == .missing)
    }
}
