/// How a supervised program ended, as waitpid(2) told.
enum ProgramEnd: Equatable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)

    /// As a shell has it: 128 + N for signal N.
    var status: Int32 {
        switch self {
        case .exited(let status): status
        case .killed(let signal): 128 + signal
        }
    }
}

/// What `--auto` knows when its program has ended, and what follows from that. Pure, so that every case can be tested.
struct Verdict: Equatable, Sendable {
    enum Outcome: Equatable {
        /// Exit status 0: the work is done, its images go.
        case finished
        /// Checkpointed and ended because a signal asked for that; this generation holds it.
        case interrupted(generation: Int)
        /// It ended otherwise; images stay, generation 0 = there is none.
        case failed(generation: Int)
    }

    var end: ProgramEnd
    /// The coordinator has confirmed a checkpoint that we asked for.
    var confirmed = false
    /// Newest complete generation when it came, or when the program was started.
    var before = 0
    /// Newest complete generation now.
    var newest = 0
    /// The newest generation's manifest says that its processes were ended with it.
    var endsProcesses = false

    var outcome: Outcome {
        if confirmed { return .interrupted(generation: newest) }
        if end == .exited(0) { return .finished }
        // The program alone got the signal, or its own question was answered first, or our reply was lost. A worker ends
        // its process by SIGKILL, which swiftcp_restart passes on as 137.
        let ended = end == .killed(signal: 9) || end == .exited(137)
        return endsProcesses && ended && newest > before
            ? .interrupted(generation: newest) : .failed(generation: newest)
    }
}
