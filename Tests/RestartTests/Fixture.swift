import CSwiftCP
import Glibc
import ImageFormat
import Options
import Testing

@testable import Restart

/// A folder with one image in it, gone at the end.
final class Fixture {
    let folder: String
    let path: String
    let image: Image

    init(_ builder: ImageBuilder) throws {
        var template = Array("/tmp/swiftcp-restart-test-XXXXXX".utf8CString)
        folder = try #require(
            template.withUnsafeMutableBufferPointer { buffer -> String? in
                guard let base = buffer.baseAddress, mkdtemp(base) != nil else { return nil }
                return String(cString: base)
            })
        path = folder + "/a_1.swiftcp"
        try Self.write(builder.bytes(), to: path)
        image = try Image(path: path)
    }

    deinit {
        unlink(path)
        unlink(folder + "/mapped")
        rmdir(folder)
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        try #require(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
    }
}

/// The ways to bring one image back.
func identity(_ image: Image, _ options: RestartOptions) throws -> Identity {
    let set = try RestartSet([image], Selection(alone: [image.path]))
    return Identity(set: set, numbers: set.numbers, options: options)
}

/// The options of a command line.
func options(_ words: String...) throws -> RestartOptions {
    guard case .run(let parsed) = try CommandTable.restart.parse(words + ["IMAGE"], environment: { _ in nil }) else {
        throw RestartError("not a command to run")
    }
    return try RestartOptions(parsed)
}

func memoryPlan(
    _ image: Image, _ options: RestartOptions, lazy: Bool = false, vdso: VDSOPlan = .move, found: Int32 = -1
) throws -> MemoryPlan {
    try MemoryPlan(
        .init(file: image, options: options, lazy: lazy, vdso: vdso, find: { _, _ in found }, shared: { _ in -1 }))
}
