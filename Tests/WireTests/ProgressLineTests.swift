import Testing

@testable import Wire

@Suite("What a user sees of a checkpoint under way")
struct ProgressLineTests {
    @Test("Bar, share, amounts, speed and the time that is left")
    func line() {
        #expect(
            ProgressLine.text(1_000_000_000, of: 4_000_000_000, perSecond: 500e6)
                == "[######------------------]  25 %  1.0 GB of 4.0 GB  500.0 MB/s  6.0 s left")
    }

    @Test("Without a speed there is no time", arguments: [0.0, 0.5])
    func noSpeed(perSecond: Double) {
        #expect(
            ProgressLine.text(0, of: 4_000_000, perSecond: perSecond)
                == "[------------------------]   0 %  0 B of 4.0 MB")
    }

    @Test("More than was expected is all of it")
    func more() {
        #expect(
            ProgressLine.text(5_000, of: 4_000, perSecond: 0) == "[########################] 100 %  5.0 kB of 4.0 kB")
        #expect(ProgressLine.text(1, of: 0, perSecond: 1e300).hasPrefix("[########################] 100 %"))
    }

    @Test("Colour stands around the bar alone")
    func colour() {
        let text = ProgressLine.text(1, of: 2, perSecond: 0, colour: true)
        #expect(text.hasPrefix("[\u{1b}[32m############\u{1b}[0m------------]  50 %"))
    }

    @Test(
        "A narrow terminal gets what fits: a line that has wrapped cannot be taken away",
        arguments: [
            (74, "[############------------]  50 %  2.0 GB of 4.0 GB  500.0 MB/s  4.0 s left"),
            (73, "[############------------]  50 %  2.0 GB of 4.0 GB  500.0 MB/s"),
            (50, "[############------------]  50 %  2.0 GB of 4.0 GB"),
            (32, "[############------------]  50 %"), (31, " 50 %"), (5, " 50 %"), (4, ""), (0, ""),
        ])
    func narrow(columns: Int, expected: String) {
        #expect(ProgressLine.text(2_000_000_000, of: 4_000_000_000, perSecond: 500e6, columns: columns) == expected)
    }

    @Test("Where stderr is no terminal, or notes are silenced, there is no line")
    func silent() {
        #expect(ProgressLine(quietness: 1) == nil)
        #expect(ProgressLine(quietness: 0, environment: { $0 == "TERM" ? "dumb" : nil }) == nil)
    }

    @Test("Status tells of it in words")
    func words() {
        var progress = ProgressReply(generation: 3, stage: "running", elapsed_ms: 1500, processes: 50, path: "/images")
        (progress.bytes_written, progress.bytes_expected) = (1_200_000_000, 4_000_000_000)
        #expect(progress.text == "generation 3: 1.2 GB of about 4.0 GB written by 50 processes in 1.5 s")
    }
}
