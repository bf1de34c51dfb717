import CSwiftCP
import Glibc
import Testing

@testable import ImageFormat

extension Manifest {
    /// One process, generation 3.
    static func example(
        _ processes: [Manifest.Process] = [
            .init(pid: 12, name: "counter", image: "counter_12.swiftcp", bytes: 99, metadataChecksum: 0xab)
        ], needs: [UInt32] = []
    ) -> Manifest {
        Manifest(
            computation: .init(id: "x1", name: "counter", command: ["./counter", "a b"], directory: "/home/u"),
            generation: 3, createdAt: "2026-11-21T00:00:00Z", host: "night", kernel: "6.1", snapshot: "stop",
            needs: needs, pauseMs: 1.5, durationMs: 20, bytesWritten: 99, processes: processes)
    }
}

@Suite struct ManifestTests {
    @Test func comesBackAsItWasWritten() throws {
        let manifest = Manifest.example()
        #expect(try Manifest.decode(manifest.encoded(), path: "m") == manifest)
    }

    @Test func keysAreThoseOfTheContract() throws {
        let text = try String(decoding: Manifest.example().encoded(), as: UTF8.self)
        for key in [
            "schema_version", "format_version", "computation", "generation", "created_at", "host", "kernel",
            "snapshot", "incremental", "pause_ms", "duration_ms", "bytes_written", "processes", "metadata_checksum",
        ] {
            #expect(text.contains("\"\(key)\" : "))
        }
        #expect(text.contains("\"metadata_checksum\" : \"00000000000000ab\""))
        #expect(text.hasSuffix("}\n"))
    }

    @Test(arguments: [
        ("", "it is not JSON"), ("{", "it is not JSON"), ("[]", "\"\" is of another type"),
        ("{}", "\"schema_version\" is missing"), ("null", "\"\" is of another type"),
        ("{\"schema_version\": 1, \"format_version\": \(SCP_FORMAT_VERSION)}", "\"computation\" is missing"),
        (#"{"schema_version": 1.5, "format_version": 1}"#, "it is not JSON"),
    ])
    func brokenTextIsRefusedWithItsReason(_ text: String, _ reason: String) throws {
        let error = try #require(throws: ImageError.self) { try Manifest.decode(Array(text.utf8), path: "m") }
        #expect(error.kind == .damaged)
        #expect(error.text.contains(reason))
        #expect(error.description == "m: damaged: \(error.text); use another generation or a copy")
    }

    @Test func everyTruncationIsRefused() throws {
        let bytes = try Manifest.example().encoded()
        for length in 0..<bytes.count - 2 {
            #expect(throws: ImageError.self) { try Manifest.decode(Array(bytes[..<length]), path: "m") }
        }
    }

    @Test func randomDamageNeverBreaksTheReader() throws {
        var random = SeededNumbers(seed: 5)
        let bytes = try Manifest.example().encoded()
        for _ in 0..<3000 {
            var copy = bytes
            for _ in 0...random.next() % 3 {
                copy[Int(random.next() % UInt64(copy.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = try? Manifest.decode(copy, path: "m")
        }
    }

    @Test(arguments: ["../../etc/x_1.swiftcp", "/x_1.swiftcp", "a_1.swiftcp/", ".", "", "x.swiftcp", "x_0.swiftcp"])
    func anImageIsAPlainFileName(_ name: String) throws {
        let hostile = Manifest.example([.init(pid: 1, name: "x", image: name, bytes: 1, metadataChecksum: 1)])
        #expect(throws: ImageError.self) { try Manifest.decode(hostile.encoded(), path: "m") }
    }

    @Test func processesAndImagesDoNotRepeat() throws {
        func process(_ pid: UInt32, _ image: String) -> Manifest.Process {
            .init(pid: pid, name: "x", image: image, bytes: 1, metadataChecksum: 1)
        }
        for pair in [
            [process(1, "x_1.swiftcp"), process(1, "y_2.swiftcp")],
            [process(1, "x_1.swiftcp"), process(2, "x_1.swiftcp")],
            [],
        ] {
            #expect(throws: ImageError.self) { try Manifest.decode(Manifest.example(pair).encoded(), path: "m") }
        }
    }

    @Test func itNamesTheGenerationsThatItNeeds() throws {
        let manifest = Manifest.example(needs: [1, 2])
        #expect(manifest.incremental)
        #expect(try Manifest.decode(manifest.encoded(), path: "m") == manifest)
        #expect(try !String(decoding: Manifest.example().encoded(), as: UTF8.self).contains("needs"))
    }

    @Test(arguments: [[0], [3], [4], [2, 1], [1, 1]])
    func generationsThatItCannotNeedAreRefused(_ needs: [UInt32]) throws {
        let hostile = Manifest.example(needs: needs)
        #expect(throws: ImageError.self) { try Manifest.decode(hostile.encoded(), path: "m") }
        var other = Manifest.example(needs: [1])
        other.incremental = false
        #expect(throws: ImageError.self) { try Manifest.decode(other.encoded(), path: "m") }
    }

    @Test func anotherVersionIsNamedBeforeAnythingElse() throws {
        let text = #"{"schema_version": 2, "format_version": 9, "strange": []}"#
        let error = try #require(throws: ImageError.self) { try Manifest.decode(Array(text.utf8), path: "m") }
        #expect(error.kind == .otherVersion)
    }
}
