import CSwiftCP
import Glibc
import SystemCalls
import Wire

/// What the event loop around a coordinator is told at its start.
public struct ServerOptions {
    public var configuration: Configuration
    /// Where to listen, absolute.
    public var addresses: [Address]
    /// Kept up to date with the status as JSON; absolute.
    public var statusFile: String?
    /// What happens is appended to it; absolute.
    public var logFile: String?
    /// Shows a line to the user.
    public var note: (String) -> Void = { _ in }
    /// Ctrl+C is meant for it.
    public var isForeground = false
    /// One-letter commands and a status line on the terminal.
    public var usesTerminal = false

    public init(_ configuration: Configuration, addresses: [Address]) {
        (self.configuration, self.addresses) = (configuration, addresses)
    }
}

/// The coordinator's event loop: one thread, epoll, signalfd, timerfd, and no polling. All decisions are the state
/// machine's; this carries them out.
public final class Server {
    /// What an epoll registration stands for. A number is never used twice, so that an event for something that has
    /// gone in the meantime finds nothing.
    private enum Source {
        case listener(Int)
        case link(Link)
        case process(Int32)
        case tracer(String)
        case alarm, signals, terminal

        var isTerminal: Bool {
            if case .terminal = self { return true }
            return false
        }
    }

    private var coordinator: Coordinator
    private let poller: Poller
    private let alarm: Alarm
    private let signals: SignalQueue
    private let listeners: [Listener]
    private var sources: [UInt64: Source] = [:]
    private var watches: [Int32: ProcessWatch] = [:]
    private var tracers: [String: (registration: UInt64, tracer: Tracer)] = [:]
    private var lastRegistration: UInt64 = 0
    private var waiting: [Event] = []
    private var chunk = [UInt8](repeating: 0, count: 64 << 10)
    /// Given up and taken again when descriptors run out, so that a connection can still be taken and closed.
    private var spare: OwnedDescriptor?
    /// Remembers who is foreign.
    private let scan = ProcessScan()
    private let journal: Journal
    private let isForeground: Bool
    private var statusFile: StatusFile?
    private let console: Console?
    private var exitStatus: Int32?

    /// A process that is watched. A class, since dictionaries hold copyable values only.
    private final class ProcessWatch {
        let registration: UInt64
        let handle: ProcessHandle
        init(_ registration: UInt64, _ handle: consuming ProcessHandle) {
            self.registration = registration
            self.handle = handle
        }
    }

    /// Listens when it returns.
    public init(_ options: ServerOptions) throws(CoordinatorError) {
        isForeground = options.isForeground
        let console = options.usesTerminal ? Console() : nil
        self.console = console
        journal = try Journal(file: options.logFile) { line in
            if let console { console.show(line) } else { options.note(line) }
        }
        var listeners: [Listener] = []
        for address in options.addresses { listeners.append(try Listener(address)) }
        self.listeners = listeners
        coordinator = Coordinator(options.configuration, at: .now) {
            String(UInt64.random(in: 1 << 48..<1 << 52), radix: 16)
        }
        statusFile = options.statusFile.map(StatusFile.init)
        do throws(SystemError) {
            poller = try Poller()
            alarm = try Alarm()
            signals = try SignalQueue([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])
        } catch { throw CoordinatorError(error) }
        // A batch system's warning reaches every process of a job: it is not meant for the coordinator.
        for number in [SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, SIGPWR] {
            signal(number, SIG_IGN)
        }
        _ = scp_raise_descriptor_limit()
        spare = try? Files.open("/dev/null", O_RDONLY)
        try registerSources()
        for listener in listeners { journal.write("listens at \(listener.address)") }
    }

    private func registerSources() throws(CoordinatorError) {
        do throws(SystemError) {
            for (index, listener) in listeners.enumerated() {
                try register(.listener(index), listener.descriptor.raw)
            }
            try register(.alarm, alarm.raw)
            try register(.signals, signals.raw)
        } catch { throw CoordinatorError(error) }
        registerTerminal()
    }

    @discardableResult
    private func register(_ source: Source, _ raw: Int32) throws(SystemError) -> UInt64 {
        lastRegistration += 1
        try poller.add(raw, registration: lastRegistration)
        sources[lastRegistration] = source
        return lastRegistration
    }

    /// Serves until the coordinator is to end; returns the exit status.
    public func run() throws(CoordinatorError) -> Int32 {
        defer {
            console?.close()
            statusFile?.remove()
        }
        show()
        while exitStatus == nil {
            try turn()
        }
        for listener in listeners { listener.withdraw() }
        drain()
        return exitStatus ?? 0
    }

    private func turn() throws(CoordinatorError) {
        let events: [Poller.Event]
        do throws(SystemError) {
            try alarm.set([coordinator.nextDeadline, statusFile?.due].compactMap { $0 }.min())
            events = try poller.wait(limit: -1)
        } catch { throw CoordinatorError(error) }
        for event in events where exitStatus == nil { take(event) }
        show()
    }

    private func take(_ event: Poller.Event) {
        switch sources[event.registration] {
        case .listener(let index): accept(listeners[index])
        case .link(let link): serve(link, event)
        case .process(let pid): processEnded(pid)
        case .tracer(let id):
            letGo(id)
            feed(.continued(id))
        case .alarm:
            alarm.acknowledge()
            feed(.timer)
        case .signals: takeSignals()
        case .terminal: takeKeys()
        case nil: break  // something that has gone
        }
    }

    /// Hands an event to the state machine and carries out what it wants, until nothing follows any more.
    private func feed(_ event: Event) {
        waiting.append(event)
        guard waiting.count == 1 else { return }  // the outermost call works the list off
        while let next = waiting.first {
            for effect in coordinator.handle(next, at: .now) { carryOut(effect) }
            waiting.removeFirst()
        }
    }

    private func carryOut(_ effect: Effect) {
        switch effect {
        case .send(let connection, let message): send(connection, message)
        case .close(let connection): close(connection)
        case .reply(let requester, let reply): answer(requester, ProcessTable.complete(reply))
        case .disk(let token, .scan(let query)): feed(.disk(token, scan.carryOut(query)))
        case .disk(let token, .lead(let id, let pids)): feed(.disk(token, lead(id, pids)))
        case .disk(let token, let operation): feed(.disk(token, GenerationStore.carryOut(operation)))
        case .watch(let pid): watch(pid)
        case .letGo(let id): letGo(id)
        case .destroy(let pid): try? watches[pid]?.handle.signal(SIGKILL)
        case .log(let text): journal.write(text)
        case .exit(let status): exitStatus = status
        }
    }
}

// MARK: - Connections

extension Server {
    private func accept(_ listener: Listener) {
        for _ in 0..<64 {
            do throws(SystemError) {
                guard let descriptor = try listener.descriptor.accept() else { return }
                try admit(descriptor)
            } catch {
                journal.write("\(error)")
                if error.code == EMFILE || error.code == ENFILE { turnAway(listener) }
                return
            }
        }
    }

    private func admit(_ descriptor: consuming OwnedDescriptor) throws(SystemError) {
        let peer = try descriptor.peerCredentials()
        let link = Link(ConnectionID(lastRegistration + 1), descriptor)
        try register(.link(link), link.descriptor.raw)
        feed(.connected(link.connection, peer))
    }

    /// No descriptor is free: the waiting connection is taken with the spare one and closed, or it would wake us for ever.
    private func turnAway(_ listener: Listener) {
        spare = nil
        _ = try? listener.descriptor.accept()
        spare = try? Files.open("/dev/null", O_RDONLY)
    }

    private func link(_ connection: ConnectionID) -> Link? {
        guard case .link(let link)? = sources[connection.number] else { return nil }
        return link
    }

    private func serve(_ link: Link, _ event: Poller.Event) {
        if event.writable, !link.flush() { return drop(link) }
        if event.readable || event.ended {
            let reading = link.read(into: &chunk)
            deliver(link)
            if reading == .ended { return drop(link) }
        }
        updateInterest(link)
    }

    private func deliver(_ link: Link) {
        do throws(WireError) {
            while sources[link.connection.number] != nil, let message = try link.nextMessage() {
                feed(.message(link.connection, message))
            }
        } catch {
            link.isDeaf = true
            feed(.malformed(link.connection, error))
        }
    }

    private func send(_ connection: ConnectionID, _ message: Message) {
        guard let link = link(connection) else { return }
        do throws(WireError) {
            link.queue(try message.encoded())
        } catch {
            // A path that does not fit its field: the worker would never hear of its order, so it is told to go.
            journal.write("\(error)")
            return drop(link)
        }
        if link.flush() { updateInterest(link) } else { drop(link) }
    }

    private func updateInterest(_ link: Link) {
        guard sources[link.connection.number] != nil, link.hasOutput != link.awaitsWriting else { return }
        link.awaitsWriting = link.hasOutput
        try? poller.change(link.descriptor.raw, registration: link.connection.number, writing: link.hasOutput)
    }

    private func close(_ connection: ConnectionID) {
        guard let link = link(connection) else { return }
        _ = link.flush()
        drop(link)
    }

    /// The connection is gone; its descriptor is closed with the last reference to the link.
    private func drop(_ link: Link) {
        guard sources.removeValue(forKey: link.connection.number) != nil else { return }
        link.isDeaf = true
        try? poller.remove(link.descriptor.raw)
        feed(.disconnected(link.connection))
    }

    /// Sends what is still to be sent, for two seconds at most.
    private func drain() {
        let deadline = Instant.now.advanced(seconds: 2)
        for case .link(let link) in sources.values {
            while link.flush(), link.hasOutput {
                guard (try? link.descriptor.wait(forWriting: true, until: deadline)) == true else { break }
            }
        }
    }
}

// MARK: - Processes, signals, status

extension Server {
    private func watch(_ pid: Int32) {
        guard watches[pid] == nil else { return }
        do throws(SystemError) {
            let handle = try ProcessHandle(pid: pid)
            let raw = handle.raw
            let registration = try register(.process(pid), raw)
            watches[pid] = ProcessWatch(registration, handle)
        } catch {
            if error.code != ESRCH { journal.write("\(error)") }
            feed(.processEnded(pid))
        }
    }

    private func processEnded(_ pid: Int32) {
        guard let watch = watches.removeValue(forKey: pid) else { return }
        sources[watch.registration] = nil
        try? poller.remove(watch.handle.raw)
        feed(.processEnded(pid))
    }

    private func lead(_ id: String, _ pids: [Int32]) -> DiskOutcome {
        letGo(id)
        do throws(SystemError) {
            let tracer = try Tracer(pids)
            tracers[id] = (try register(.tracer(id), tracer.raw), tracer)
            return .led(tracer.signals)
        } catch { return .notLed(error.code) }
    }

    private func letGo(_ id: String) {
        guard let (registration, tracer) = tracers.removeValue(forKey: id) else { return }
        sources[registration] = nil
        try? poller.remove(tracer.raw)
    }

    private func takeSignals() {
        while let number = (try? signals.next()) ?? nil {
            switch number {
            case SIGTSTP: console?.suspend()
            case SIGCONT:
                console?.resume()
                registerTerminal()
            default: feed(.terminate(signal: number, atOnce: isForeground && [SIGINT, SIGQUIT].contains(number)))
            }
        }
    }

    private func answer(_ requester: Requester, _ reply: CommandReply) {
        switch requester {
        case .connection(let connection): send(connection, .reply(reply.json()))
        case .terminal: console?.show(reply)
        }
    }

    /// Brings the status file and the terminal's status line up to date.
    private func show() {
        guard statusFile != nil || console != nil else { return }
        if statusFile?.isDue(revision: coordinator.revision) == true,
            let complaint = statusFile?.write(ProcessTable.complete(coordinator.status()))
        {
            journal.write(complaint)
        }
        console?.showStatus { coordinator.status() }
    }

    private func registerTerminal() {
        guard let console, console.isForeground, !sources.values.contains(where: { $0.isTerminal }) else { return }
        _ = try? register(.terminal, 0)
    }

    private func takeKeys() {
        guard let console, let requests = console.readKeys() else {
            // No longer ours to read: a job in the background, or the terminal has gone.
            if let entry = sources.first(where: { $0.value.isTerminal }) { sources[entry.key] = nil }
            try? poller.remove(0)
            return
        }
        for request in requests { feed(.request(.terminal, request)) }
    }
}
