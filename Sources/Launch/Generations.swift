import CSwiftCP
import Formats
import Glibc
import Options
import SystemCalls

/// The folder of one computation, as far as `--auto` needs it: `CKPTDIR/ckpt_NAME_ID/gen-NNNNNN/manifest.json`.
struct ComputationFolder: Equatable {
    let path: String

    /// The folder in `directory` whose name ends in the id, nil when there is none. NAME is not compared: the coordinator
    /// chooses it.
    static func find(in directory: String, computation: String) -> ComputationFolder? {
        let names = (try? Files.list(directory)) ?? []
        return names.first { $0.hasPrefix(CheckpointNames.computationPrefix) && $0.hasSuffix("_" + computation) }
            .map { ComputationFolder(path: directory + "/" + $0) }
    }

    /// Numbers of the complete generations, those whose manifest is there, ascending.
    var complete: [Int] {
        let names = (try? Files.list(path)) ?? []
        return names.compactMap { Self.number(of: $0) }.filter { Files.exists(manifest($0)) }.sorted()
    }

    /// The highest number of a complete generation; 0 when there is none.
    var newestComplete: Int { complete.last ?? 0 }

    /// Path of a generation's folder.
    func generation(_ number: Int) -> String { path + "/" + CheckpointNames.generation(UInt32(clamping: number)) }

    /// Whether the generation's processes were ended by its checkpoint.
    func endsProcesses(_ number: Int) -> Bool {
        let text = try? Files.read(manifest(number))
        return ReplyText.isTrue("ends_processes", in: String(decoding: text ?? [], as: UTF8.self))
    }

    func manifest(_ number: Int) -> String { generation(number) + "/" + CheckpointNames.manifest }

    /// 17 for `gen-000017`, nil for any other name, above all the temporary ones.
    static func number(of name: String) -> Int? { CheckpointNames.generationNumber(name).map(Int.init) }

    /// Removes all generations and the folder. Manifests go first, so that a removal cut short leaves no generation that
    /// looks complete. Nothing outside the folder is touched: links are removed, not followed.
    func remove() throws(SystemError) {
        for name in try Files.list(path) {
            if let number = Self.number(of: name), Files.exists(manifest(number)) { try Files.unlink(manifest(number)) }
        }
        // The coordinator may be taking down an unfinished generation at the same time, so a few tries.
        for attempt in 1... {
            do throws(SystemError) { return try Files.removeTree(path) } catch {
                let raced = error.code == ENOTEMPTY || error.code == ENOENT
                if !raced || attempt == 100 { throw error }
                _ = poll(nil, 0, 10)
            }
        }
    }
}

/// Ids of computations.
enum ComputationIdentifier {
    /// 12 random hexadecimal digits.
    static func random() -> String { text(UInt64.random(in: .min ... .max)) }

    /// 12 hexadecimal digits that are always the same for a command line in a folder.
    static func stable(words: [[UInt8]], directory: String) -> String {
        var bytes: [UInt8] = []
        for part in [Array(directory.utf8)] + words { bytes += part + [0] }
        return text(bytes.withUnsafeBytes { scp_xxh3($0.baseAddress, $0.count, 0) })
    }

    private static func text(_ number: UInt64) -> String {
        let digits = String(number & 0xffff_ffff_ffff, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }
}
