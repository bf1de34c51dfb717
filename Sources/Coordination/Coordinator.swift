import Glibc
import SystemCalls
import Wire

/// The coordinator as a pure state machine: events in, effects out, no socket and no clock.
///
/// Every wait inside has a limit: `nextDeadline` says when `Event.timer` is due. Not thread-safe; a value.
public struct Coordinator {
    struct Client {
        enum Role: Equatable {
            /// Nothing said yet; closed at the deadline.
            case new(deadline: Instant)
            case worker(computation: String)
            /// A command, launch or restart.
            case asking
            /// Told to go; nothing more is listened to.
            case closing
        }
        let peer: PeerCredentials
        var role: Role
    }

    struct PendingRequest {
        var requester: Requester?
        let verb: Verb
        /// Ids of computations that are still at it.
        var waiting: Set<String>
        var outcomes: [Outcome] = []
    }

    struct Outcome {
        let computation: String
        var error: String?
        var checkpoint: CheckpointReply?
    }

    public internal(set) var configuration: Configuration
    var computations: [String: Computation] = [:]
    var clients: [ConnectionID: Client] = [:]
    /// Those that have said nothing yet.
    var newcomers: Set<ConnectionID> = []
    var requests: [RequestID: PendingRequest] = [:]
    /// Which computation a disk operation is for.
    var disk: [DiskToken: String] = [:]
    var serial: UInt64 = 0
    let started: Moment
    var now: Moment
    /// Since when there has been no process.
    var idleSince: Instant?
    var hadProcesses = false
    /// The coordinator ends when the last process has gone, whatever the options say.
    var quitting = false
    var exited = false
    var effects: [Effect] = []
    private let makeID: @Sendable () -> String

    /// Grows with everything that status would show differently.
    public private(set) var revision: UInt64 = 0

    /// - Parameter makeID: a new computation id: letters, digits and `-`, at most 63 bytes.
    public init(_ configuration: Configuration, at now: Moment, makeID: @escaping @Sendable () -> String) {
        self.configuration = configuration
        started = now
        self.now = now
        idleSince = now.monotonic
        self.makeID = makeID
    }

    /// Takes one event. The effects are to be carried out in their order.
    public mutating func handle(_ event: Event, at moment: Moment) -> [Effect] {
        guard !exited else { return [] }
        now = moment
        effects = []
        revision += 1
        take(event)
        settle()
        defer { effects = [] }
        return effects
    }

    private mutating func take(_ event: Event) {
        switch event {
        case .connected(let connection, let peer): connected(connection, peer)
        case .message(let connection, let message): received(message, from: connection)
        case .malformed(let connection, let error): malformed(connection, error)
        case .disconnected(let connection): disconnected(connection)
        case .processEnded(let pid): processEnded(pid)
        case .disk(let token, let outcome): diskFinished(token, outcome)
        case .continued(let id): continued(id)
        case .request(let requester, let request): requested(request, by: requester)
        case .timer: timer()
        case .terminate(let signal, let atOnce): terminate(signal, atOnce)
        }
    }

    func makeComputationID() -> String { makeID() }

    mutating func newSerial() -> UInt64 {
        serial += 1
        return serial
    }

    mutating func log(_ text: String) { effects.append(.log(text)) }

    /// Computations with processes, in the order of their birth.
    var living: [Computation] {
        computations.values.filter(\.isAlive).sorted { $0.serial < $1.serial }
    }

    /// In the order of their birth.
    var identifiers: [String] { computations.values.sorted { $0.serial < $1.serial }.map(\.id) }
}

// MARK: - Connections

extension Coordinator {
    private mutating func connected(_ connection: ConnectionID, _ peer: PeerCredentials) {
        let ours = peer.user == configuration.user || peer.user == 0
        let limit = now.monotonic.advanced(seconds: configuration.greetingLimit)
        clients[connection] = Client(peer: peer, role: ours ? .new(deadline: limit) : .closing)
        if ours {
            newcomers.insert(connection)
        } else {
            log("refused a connection of user \(peer.user) (process \(peer.pid))")
            effects.append(.close(connection))
        }
    }

    private mutating func received(_ message: Message, from connection: ConnectionID) {
        guard let client = clients[connection] else { return }
        newcomers.remove(connection)
        switch (message, client.role) {
        case (_, .closing): break
        case (.hello(let hello), .new): greeted(hello, connection, client.peer)
        case (.launch(let launch), .new), (.launch(let launch), .asking): announced(launch, connection, client.peer)
        case (.request(let request), .new), (.request(let request), .asking):
            clients[connection]?.role = .asking
            requested(request, by: .connection(connection))
        case (.stage(let report), .worker(let id)): stageReached(report, connection, id)
        case (.snapshot(let text), .worker(let id)): snapshotTold(text, connection, id)
        case (.ancestors(let ancestors), .worker(let id)): ancestorsTold(ancestors, connection, id)
        case (.children(let children), .worker(let id)): childrenTold(children, connection, id)
        case (.survey(let survey), .worker(let id)): surveyTold(survey, connection, id)
        case (.failed(let text), .worker(let id)): workerFailed(text, connection, id)
        case (.ask(let ask), .worker(let id)): asked(ask, connection, id)
        default:
            log("closed a connection: message \(message.type) does not belong there")
            dismiss(connection)
        }
    }

    /// Closes a connection from this side and treats it as gone.
    mutating func dismiss(_ connection: ConnectionID) {
        effects.append(.close(connection))
        newcomers.remove(connection)
        if case .worker(let id)? = clients[connection]?.role { workerGone(connection, id) }
        clients[connection]?.role = .closing
    }

    /// Another version is told so in the words of its question; all else that is no message closes the connection.
    private mutating func malformed(_ connection: ConnectionID, _ error: WireError) {
        guard let client = clients[connection], client.role != .closing else { return }
        log("closed a connection of process \(client.peer.pid): \(error.text)")
        if case .version(let type) = error.kind {
            switch type {
            case Message.hello(Hello(ownPid: 0, name: "", computation: "", checkpointDirectory: "")).type:
                effects.append(.send(connection, .welcome(Welcome(error: UInt32(EPROTO), text: error.text))))
            case Message.launch(Launch()).type:
                effects.append(.send(connection, .launched(Launched(error: EPROTO, text: error.text))))
            case Message.request(Request(.status)).type:
                effects.append(.reply(.connection(connection), CommandReply(command: "unknown", error: error.text)))
            default: break
            }
        }
        dismiss(connection)
    }

    private mutating func disconnected(_ connection: ConnectionID) {
        guard let client = clients.removeValue(forKey: connection) else { return }
        newcomers.remove(connection)
        for (id, request) in requests where request.requester == .connection(connection) {
            requests[id]?.requester = nil
        }
        if case .worker(let id) = client.role { workerGone(connection, id) }
    }

    private mutating func terminate(_ signal: Int32, _ atOnce: Bool) {
        if !atOnce, !living.isEmpty {
            configuration.exitOnLast = true
            return log("signal \(signal): ends when its processes have gone")
        }
        for id in identifiers {
            failCheckpoint(id, EINTR, "the coordinator was ended by signal \(signal)")
        }
        let count = living.reduce(0) { $0 + $1.workers.count }
        log(count == 0 ? "ends (signal \(signal))" : "ends (signal \(signal)); \(count) processes run on without it")
        exit(0)
    }

    mutating func exit(_ status: Int32) {
        guard !exited else { return }
        exited = true
        effects.append(.exit(status))
    }
}
