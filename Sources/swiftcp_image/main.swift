import Glibc
import ImageFormat
import Options

// swiftcp_image: looks into checkpoint images.

/// The option table that all commands share, this command's own words, and where its messages go.
let parsed = CommandTable.image.parseOrExit()
let report = Reporter(command: "swiftcp_image", quietness: parsed.quietness)
let wantsJSON = parsed.flag("json")

/// Writes the command's answer, as text or as JSON.
func answer<Content: Encodable>(_ content: Content, text: @autoclosure () -> String) throws {
    writeAll(wantsJSON ? try Reply.done(parsed.subcommand, content).text() : text(), to: 1)
}

func info(_ argument: String) throws {
    let selection = try Selection.resolve(argument)
    let paths = selection.named.map { [$0] } ?? selection.images
    let images = try paths.map { path throws(ImageError) in try ImageInfo(opened(path, of: selection)) }
    try answer(
        InfoContent(manifest: selection.manifest, images: images), text: images.map(\.text).joined(separator: "\n"))
}

/// Of an image that lacks an earlier one, what it knows itself, with a warning.
func opened(_ path: String, of selection: Selection) throws(ImageError) -> Image {
    do throws(ImageError) {
        return try selection.open(path)
    } catch {
        guard error.path != path, error.kind == .missing else { throw error }
        report.warning(error.description)
        return try selection.open(path, alone: true)
    }
}

func maps(_ argument: String) throws {
    let image = try Image(path: Selection.single(argument), alone: true)
    let lines = image.maps()
    try answer(MapsContent(image: image.path, regions: lines), text: lines.map { $0.text + "\n" }.joined())
}

/// Every image of the set; all of them are looked at, even when the first is damaged.
func verify(_ argument: String) throws -> Int32 {
    let selection = try Selection.resolve(argument)
    var results: [VerifyContent.Result] = []
    var problems: [String] = []
    for path in selection.images {
        do throws(ImageError) {
            let result = try selection.open(path).verify()
            let findings =
                result.findings.map { ImageError(.damaged, path, $0.text).description }
                + (result.isCutShort ? ["\(path): there is more"] : [])
            results.append(
                .init(image: path, bytes: result.bytesChecked, pieces: result.piecesChecked, findings: findings))
            problems += findings
        } catch {
            guard error.kind != .system else { throw error }
            results.append(.init(image: path, bytes: 0, pieces: 0, findings: [error.description]))
            problems.append(error.description)
        }
    }
    let content = VerifyContent(images: results)
    guard problems.isEmpty else {
        problems.forEach(report.error)
        if wantsJSON { writeAll(try Reply.failed("verify", problems[0], content).text(), to: 1) }
        return ExitStatus.badImage
    }
    try answer(content, text: results.map { "\($0.image): sound, \($0.pieces) pieces, \($0.bytes) bytes\n" }.joined())
    return ExitStatus.done
}

func core(_ argument: String, to output: String) throws {
    let image = try Image(path: Selection.single(argument))
    try image.writeCore(to: output)
    report.note("\(output) is a core file of process \(image.process.pid); gdb PROGRAM \(output) opens it")
    if wantsJSON { try answer(CoreContent(image: image.path, core: output), text: "") }
}

/// One image becomes a file, the images of several processes a folder.
func flatten(_ argument: String, to output: String) throws {
    let selection = try Selection.resolve(argument)
    if let image = selection.named ?? (selection.images.count == 1 ? selection.images[0] : nil) {
        try selection.open(image).flatten(to: output)
        if wantsJSON { try answer(FlattenContent(image: image, flat: output), text: "") }
    } else {
        try selection.flatten(to: output)
        if wantsJSON { try answer(FlattenContent(image: selection.folder ?? argument, flat: output), text: "") }
    }
    report.note("\(output) needs no earlier generation")
}

func diff(_ first: String, _ second: String) throws {
    let images = try [first, second].map { argument throws(ImageError) in try Image(path: Selection.single(argument)) }
    let difference = try Difference(images[0], images[1])
    try answer(difference, text: difference.text)
}

func run() throws -> Int32 {
    let operands = parsed.operands
    switch parsed.subcommand {
    case "info": try info(operands[0])
    case "maps": try maps(operands[0])
    case "verify": return try verify(operands[0])
    case "core": try core(operands[0], to: operands[1])
    case "flatten": try flatten(operands[0], to: operands[1])
    case "diff": try diff(operands[0], operands[1])
    default:
        report.error("\(parsed.subcommand) is not yet available in this release")
        return ExitStatus.usage
    }
    return ExitStatus.done
}

/// Says why it failed, also as JSON when that was asked for.
func failed(_ text: String, status: Int32) -> Int32 {
    report.error(text)
    if wantsJSON, let reply = try? Reply<NoContent>.failed(parsed.subcommand, text).text() { writeAll(reply, to: 1) }
    return status
}

func status() -> Int32 {
    do {
        return try run()
    } catch let error as ImageError {
        return failed(error.description, status: error.exitStatus)
    } catch {
        return failed("\(error)", status: ExitStatus.failed)
    }
}

exit(status())
