import CSwiftCP
import Formats
import Glibc
import SystemCalls

extension Selection {
    /// Makes of a whole set one that needs no earlier generation: a folder with full images and a manifest, which is written
    /// last. `output` must not exist; it is removed again when anything fails.
    public func flatten(to output: String) throws(ImageError) {
        guard var manifest else { throw ImageError(.missing, images[0], "no manifest.json lies beside it") }
        try disk(output) { () throws(SystemError) in try Files.makeDirectory(output, mode: 0o700) }
        do throws(ImageError) {
            for index in manifest.processes.indices {
                let target = output + "/" + manifest.processes[index].image
                try open(images[index]).flatten(to: target)
                let image = try Image(path: target)
                manifest.processes[index].metadataChecksum = image.header.metadata_checksum
                manifest.processes[index].bytes = image.file.size
            }
            (manifest.incremental, manifest.needs, manifest.filePages) = (false, nil, nil)
            manifest.bytesWritten = manifest.processes.reduce(0) { $0 + $1.bytes }
            let path = output + "/" + CheckpointNames.manifest
            let bytes = try manifest.encoded(for: path)
            try disk(output) { () throws(SystemError) in
                try Files.syncDirectory(output)
                try Files.write(bytes, to: path)
                try Files.syncDirectory(output)
            }
        } catch {
            try? Files.removeTree(output)
            throw error
        }
    }

    private func disk(_ path: String, _ body: () throws(SystemError) -> Void) throws(ImageError) {
        do throws(SystemError) { try body() } catch { throw ImageError(path, error) }
    }
}
