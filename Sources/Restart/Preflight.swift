import CRestart
import CSwiftCP
import Glibc
import ImageFormat
import SystemCalls

/// An open file that may or may not be there: an optional descriptor could not be borrowed.
final class OpenFile {
    private let descriptor: OwnedDescriptor
    var raw: Int32 { descriptor.raw }

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
}

/// What is looked at before anything is started: would this image run here, for this user?
struct Preflight {
    let file: Image
    let options: RestartOptions

    /// Throws for the first thing that would not work.
    func check() throws(RestartError) {
        try checkMachine()
        try checkFeatures()
        try checkUser()
        try checkPlaces()
    }

    private func checkMachine() throws(RestartError) {
        #if arch(x86_64)
            let here: UInt32 = 62
        #elseif arch(arm64)
            let here: UInt32 = 183
        #endif
        guard file.header.machine == here else {
            throw RestartError.unusable(
                file.path, "made on another kind of machine (ELF machine \(file.header.machine), this one is \(here))")
        }
    }

    private func checkFeatures() throws(RestartError) {
        var names = [CChar](repeating: 0, count: 1024)
        let count = withUnsafeBytes(of: file.header.cpu_features) { words in
            crestart_missing_features(
                words.baseAddress?.assumingMemoryBound(to: UInt32.self), file.header.xfeatures, &names, names.count)
        }
        guard count > 0 else { return }
        let list = String(decoding: names.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        throw RestartError.unusable(
            file.path,
            "the program may use processor features that this host lacks: \(list); restart it on a host like"
                + " \(file.string(file.header.host_name))")
    }

    private func checkUser() throws(RestartError) {
        let (real, effective) = (file.process.uid, file.process.euid)
        guard real == effective, file.process.gid == file.process.egid else {
            throw RestartError("\(file.path): the program ran setuid or setgid, that cannot be given back")
        }
        guard real == getuid(), real == geteuid() else {
            throw RestartError(
                "\(file.path): the program belongs to user \(real), you are user \(geteuid()); restart it as that user")
        }
        guard file.process.gid == getgid() else {
            throw RestartError(
                "\(file.path): the program ran in group \(file.process.gid), you are in \(getgid()); use newgrp or sg")
        }
    }

    private func checkPlaces() throws(RestartError) {
        let root = file.string(file.process.root)
        guard root.isEmpty || root == "/" else {
            throw RestartError(
                "\(file.path): the program had the root directory \(root) (chroot); restarting it there is not yet"
                    + " available")
        }
        let directory = self.directory
        guard let status = try? Files.status(directory), status.isDirectory, access(directory, X_OK) == 0 else {
            throw RestartError(
                "the program's working directory \(directory) is missing or closed to you; make it, or use --map")
        }
    }

    /// The working directory to use.
    var directory: String {
        let bytes = options.mapped(file.stringBytes(file.process.directory))
        return bytes.isEmpty ? "/" : String(decoding: bytes, as: UTF8.self)
    }

    /// The program's file, for /proc/self/exe; nil with a warning when it is not there.
    func executable() -> OpenFile? {
        let path = String(decoding: options.mapped(file.stringBytes(file.process.executable)), as: UTF8.self)
        do throws(SystemError) {
            return OpenFile(try Files.open(path, O_RDONLY))
        } catch {
            options.report.warning("\(error); /proc/self/exe of the program will name swiftcp_restorer")
            return nil
        }
    }

    /// Compares the checksums of what is no memory: contents of pipes and deleted files.
    func checkContents() throws(RestartError) {
        for (index, blob) in file.blobs.enumerated() {
            var sum: UInt64 = 0
            var done: UInt64 = 0
            while done < blob.length {
                let count = Int(min(blob.length - done, UInt64(SCP_BLOCK_MAXIMUM)))
                let bytes = try reading { () throws(ImageError) in
                    try file.file.bytes(at: blob.offset + done, count: count)
                }
                sum = scp_xxh3(bytes, count, sum)
                done += UInt64(count)
            }
            guard sum == blob.checksum else {
                throw RestartError.unusable(
                    file.path, "the checksum of content \(index) is wrong, the image is damaged")
            }
        }
    }
}
