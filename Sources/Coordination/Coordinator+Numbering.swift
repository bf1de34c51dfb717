import SystemCalls
import Wire

// What several processes share has one number in all their images, and one of them saves it.

extension Coordinator {
    mutating func surveyTold(_ survey: Survey, _ connection: ConnectionID, _ id: String) {
        guard computations[id]?.checkpoint?.phase == .stage(.surveyed),
            computations[id]?.checkpoint?.generation == survey.generation
        else { return }  // late: of a checkpoint that was given up
        computations[id]?.checkpoint?.members[connection]?.survey = survey.entries
    }

    /// All surveys are there.
    mutating func number(_ id: String) {
        guard let members = computations[id]?.checkpoint?.members else { return }
        let order = members.values.sorted { $0.worker.hello.ownPid < $1.worker.hello.ownPid }
        computations[id]?.checkpoint?.phase = .numbering
        computations[id]?.checkpoint?.numbered = order.map(\.worker.connection)
        beginDisk(
            .assign(
                order.map { SurveyedProcess(pid: $0.worker.pid, label: $0.worker.label, entries: $0.survey) }),
            for: id)
    }

    mutating func assigned(_ id: String, _ lists: [[Assigned]]) {
        guard let checkpoint = computations[id]?.checkpoint, checkpoint.phase == .numbering else { return }
        let led = checkpoint.stoppedPids
        for (connection, list) in zip(checkpoint.numbered, lists) {
            let children = led.isEmpty ? [] : checkpoint.members[connection]?.children?.processes ?? []
            let assignment = Assignment(
                generation: checkpoint.generation, entries: list, stopped: children.map(\.pid).filter(led.contains))
            effects.append(.send(connection, .assignment(assignment)))
        }
        goOn(id, from: .surveyed)
    }
}
