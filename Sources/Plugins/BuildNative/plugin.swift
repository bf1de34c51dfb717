import Foundation
import PackagePlugin

/// Builds `libswiftcp.so` (the shim) and `swiftcp_restorer` with `Scripts/build-native`, outside SwiftPM's own
/// compile rules: neither may carry a Swift run time, a sanitizer or coverage code.
@main struct BuildNative: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let root = context.package.directoryURL
        let script = root.appending(path: "Scripts/build-native")
        let headers = root.appending(path: "Sources/CSwiftCP/include")
        let common = [script] + files(below: headers) + files(below: target.directoryURL.appending(path: "arch"))
        let output = context.pluginWorkDirectoryURL
        return [("shim", "libswiftcp.so"), ("restorer", "swiftcp_restorer")].map { kind, name in
            let sources = target.directoryURL.appending(path: kind)
            let product = output.appending(path: name)
            return .buildCommand(
                displayName: "Building \(name)", executable: script,
                arguments: [kind, product.path, sources.path, headers.path],
                inputFiles: common + files(below: sources), outputFiles: [product])
        }
    }

    private func files(below folder: URL) -> [URL] {
        let all = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
        return (all?.compactMap { $0 as? URL } ?? [])
            .filter { ["c", "h", "S", "ld", "map"].contains($0.pathExtension) }
            .sorted { $0.path < $1.path }
    }
}
