import CSwiftCP
import Coordination
import Glibc
import Options
import SystemCalls
import Wire

// swiftcp_coordinator: options to a server; errors to an exit status.

private let parsed = CommandTable.coordinator.parseOrExit()
private let report = Reporter(command: "swiftcp_coordinator", quietness: parsed.quietness)

private func fail(_ text: String) -> Never {
    report.error(text)
    exit(ExitStatus.failed)
}

private func seconds(_ option: String) -> Double? { parsed.microseconds(option).map { Double($0) / 1e6 } }

private func addresses() throws(WireError) -> [Address] {
    let given = parsed.values("coordinator")
    if given.isEmpty { return [try .standard()] }
    var addresses: [Address] = []
    for text in given { addresses.append(try Address(text).absolute()) }
    return addresses
}

private func configuration(_ addresses: [Address]) -> Configuration {
    var configuration = Configuration()
    configuration.address = addresses.map(\.description).joined(separator: " ")
    configuration.host = Processes.hostName
    configuration.kernel = Processes.kernelRelease
    configuration.user = Processes.user
    configuration.preparers = max(configuration.preparers, 2 * Processes.processorCount)
    configuration.interval = seconds("interval") ?? 0
    if let limit = seconds("timeout"), limit > 0 {
        configuration.stageLimit = limit
        configuration.quiesceLimit = min(configuration.quiesceLimit, limit)
        configuration.announceLimit = min(configuration.announceLimit, limit)
    }
    configuration.exitOnLast = parsed.flag("exit-on-last")
    configuration.staleTimeout = seconds("stale-timeout")
    return configuration
}

private func absolute(_ option: String) throws(SystemError) -> String? {
    guard let path = parsed.value(option) else { return nil }
    return try Path.absolute(path)
}

/// In a daemon this runs in the child: the pid is its own.
private func start(_ options: ServerOptions) throws(CoordinatorError) -> Server {
    var options = options
    options.configuration.pid = Processes.pid
    return try Server(options)
}

private func options() throws -> ServerOptions {
    let addresses = try addresses()
    var options = ServerOptions(configuration(addresses), addresses: addresses)
    options.statusFile = try absolute("status-file")
    options.logFile = try absolute("log-file")
    let isDaemon = parsed.flag("daemon")
    options.isForeground = !isDaemon
    options.usesTerminal = !isDaemon && Processes.isTerminal(0) && Processes.isTerminal(1)
    options.note = { line in if !isDaemon { report.note(line) } }
    return options
}

do {
    let options = try options()
    if parsed.flag("daemon") {
        let gate: Int32? = Environment.value(SCP_ENV_GATE) == nil ? nil : 0
        exit(try Daemon.run(gate: gate) { () throws(CoordinatorError) in try start(options) } ?? ExitStatus.done)
    }
    exit(try start(options).run())
} catch {
    fail("\(error)")
}
