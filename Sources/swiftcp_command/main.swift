import FoundationEssentials
import Glibc
import Options
import SystemCalls
import Wire

// swiftcp_command: one request to the coordinator, one answer to stdout.

private let parsed = CommandTable.command.parseOrExit()
private let report = Reporter(command: "swiftcp_command", quietness: parsed.quietness)

/// Seconds for an answer that needs no work, and for one from a coordinator that waits for a slow disk.
private let shortLimit = 30.0
private let slowLimit = 120.0

private func readRequest() -> Request {
    let noWait = parsed.flag("no-wait")
    switch parsed.chosen("request") {
    case "list": return Request(.list)
    case "checkpoint", "bcheckpoint": return Request(.checkpoint, noWait: noWait)
    case "kcheckpoint": return Request(.kcheckpoint, noWait: noWait)
    case "interval": return Request(.interval, interval: parsed.microseconds("interval") ?? 0)
    case "kill": return Request(.kill)
    case "quit": return Request(.quit)
    default: return Request(.status)
    }
}

private func address() throws(WireError) -> Address {
    guard let text = parsed.value("coordinator") else { return try .standard() }
    return try Address(text)
}

/// Work may take long, and the coordinator has its own limits for every stage of it. So no limit is set for the whole,
/// but as long as the answer is not there the coordinator must answer another question in time.
private func ask(_ request: Request) throws(WireError) -> String {
    let address = try address()
    var connection = try Connection(address, asAdministrator: true)
    try connection.send(.request(request))
    try watch(request, address, until: &connection)
    while true {
        do throws(WireError) {
            if case .reply(let text) = try connection.receive(limit: shortLimit) { return text }
            throw WireError(.malformed, "the coordinator at \(address) answered with another message than expected")
        } catch {
            let mayTakeLong = ![.status, .list, .interval].contains(request.verb)
            guard error.kind == .timeLimit, mayTakeLong, !request.noWait else { throw error }
            var probe = try Connection(address, asAdministrator: true)
            _ = try probe.ask(Request(.status), limit: slowLimit)
        }
    }
}

/// Shows on a terminal how far a checkpoint is, until there is something to read.
private func watch(_ request: Request, _ address: Address, until connection: inout Connection) throws(WireError) {
    guard [.checkpoint, .kcheckpoint].contains(request.verb), !request.noWait, !parsed.flag("json"),
        var line = ProgressLine(quietness: parsed.quietness)
    else { return }
    var pace = ProgressLine.pace
    var status: Connection?
    while try !connection.hasInput(within: pace) {
        let began = Instant.now
        // Whatever goes wrong with the question, the answer to the first one tells.
        if status == nil { status = try? Connection(address, asAdministrator: true) }
        guard let text = try? status?.ask(Request(.status), limit: slowLimit),
            let reply = try? JSONDecoder().decode(CommandReply.self, from: Data(text.utf8))
        else { break }
        let progress = reply.computations.compactMap(\.progress)
        line.show(
            progress.reduce(0) { $0 &+ $1.bytes_written }, of: progress.reduce(0) { $0 &+ $1.bytes_expected })
        // With many processes the question is work.
        pace = max(ProgressLine.pace, Instant.now.seconds(since: began) * 10)
    }
    line.clear()
}

private func fail(_ request: Request, _ error: WireError) -> Never {
    if parsed.flag("json") {
        let reply = CommandReply(command: request.verb.name, error: error.text)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let data = (try? encoder.encode(reply)) ?? Data()
        writeAll(String(decoding: data, as: UTF8.self) + "\n", to: 1)
    }
    report.error(error.text)
    exit(error.exitStatus)
}

private func show(_ text: String, _ request: Request) -> Never {
    guard let reply = try? JSONDecoder().decode(CommandReply.self, from: Data(text.utf8)) else {
        fail(request, WireError(.malformed, "the coordinator's answer cannot be understood"))
    }
    if parsed.flag("json") { writeAll(text + "\n", to: 1) }
    if let error = reply.error {
        report.error(error)
        exit(ExitStatus.failed)
    }
    if !parsed.flag("json") { writeAll(reply.text() + "\n", to: 1) }
    exit(ExitStatus.done)
}

private let request = readRequest()
do throws(WireError) {
    show(try ask(request), request)
} catch {
    fail(request, error)
}
