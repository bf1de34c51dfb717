import CSwiftCP
import SystemCalls
import Wire

/// The path under which a program finds the shim.
enum Preload {
    /// ld.so(8) separates the entries of `LD_PRELOAD` by both, and knows no quoting.
    static func separates(_ character: Character) -> Bool { character == ":" || character.isWhitespace }

    /// The library's own path, or where that has a blank or a colon a link to it in the user's run directory.
    static func path(of shim: String) throws(LaunchError) -> String {
        guard shim.contains(where: separates) else { return shim }
        let directory = try wire { () throws(WireError) in try RunDirectory.standard() }
        let hash = Array(shim.utf8).withUnsafeBytes { scp_xxh3($0.baseAddress, $0.count, 0) }
        let folder = "\(directory)/library-\(String(hash, radix: 16))"
        let link = folder + "/libswiftcp.so"
        guard !link.contains(where: separates) else {
            throw LaunchError("cannot preload \(shim): its path and that of \(directory) have a blank or a colon")
        }
        do throws(SystemError) {
            if !Files.exists(folder) { try Files.makeDirectories(folder, mode: 0o700) }
            if (try? Files.readLink(link)) != shim { try Files.replaceLink(link, to: shim) }
        } catch { throw LaunchError(error) }
        return link
    }
}
