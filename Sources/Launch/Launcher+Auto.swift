import CSwiftCP
import Glibc
import Options
import SystemCalls
import Wire

// --auto: the same command line goes on where it was interrupted.
extension Launcher {
    /// Starts or resumes the program, stands by it until it ends, and returns the exit status for this process.
    func runAutomatically() throws(LaunchError) -> Int32 {
        var inherited = scp_signal_state()
        scp_signal_state(&inherited)
        let stopSignals = [SIGINT, SIGTERM, SIGHUP].filter { inherited.ignored >> UInt64($0 - 1) & 1 == 0 }
        // An ignored SIGCHLD would let the kernel throw the exit status away.
        let signals = try system { () throws(SystemError) in
            OwnedDescriptor(
                owning: try check(
                    scp_watch_signals(Supervisor.watched(stopSignals), 1 << UInt64(SIGCHLD - 1)), "watch", "signals"))
        }
        let launch = automaticAnnouncement()
        let start = AutomaticStart(launcher: self, launch: launch, inherited: inherited, stopSignals: stopSignals)
        var limit = Int.max
        while true {
            let resumed = newestGeneration(launch, below: limit)
            var verdict = try live(start, resumed: resumed, signals: signals.raw)
            let newest = newestGeneration(launch)
            if let resumed, verdict.end == .exited(4), newest?.number == resumed.number,
                let older = newestGeneration(launch, below: resumed.number),
                try start.isDamaged(resumed.folder.generation(resumed.number))
            {
                options.report.warning(
                    "generation \(resumed.number) in \(resumed.folder.path) cannot be used; going back to generation"
                        + " \(older.number): what the program did since then is done again")
                limit = resumed.number
                continue
            }
            if let (folder, number) = newest {
                (verdict.newest, verdict.endsProcesses) = (number, folder.endsProcesses(number))
            }
            return conclude(verdict, launch)
        }
    }

    /// One life of the program, from the generation or from its start, until it has ended.
    private func live(
        _ start: AutomaticStart, resumed: (folder: ComputationFolder, number: Int)?, signals: Int32
    ) throws(LaunchError) -> Verdict {
        let child: Int32
        if let (folder, number) = resumed {
            options.report.note("going on from generation \(number) in \(folder.path)")
            child = try start.restart(folder.generation(number))
        } else {
            child = try start.program()
        }
        let supervisor = Supervisor(
            child: child, launch: start.launch, access: access, report: options.report, stopSignals: start.stopSignals,
            resumed: resumed?.number ?? 0, signals: signals)
        return try system { () throws(SystemError) in try supervisor.run() }
    }

    private func automaticAnnouncement() -> Launch {
        var launch = announcement(
            pid: 0,
            computation: ComputationIdentifier.stable(
                words: options.words, directory: options.workingDirectory))
        launch.auto = true
        return launch
    }

    private func newestGeneration(
        _ launch: Launch, below limit: Int = .max
    ) -> (folder: ComputationFolder, number: Int)? {
        let folder = ComputationFolder.find(
            in: launch.checkpointDirectory, computation: launch.computation)
        guard let folder, let number = folder.complete.last(where: { $0 < limit }) else { return nil }
        return (folder, number)
    }

    private func conclude(_ verdict: Verdict, _ launch: Launch) -> Int32 {
        let report = options.report
        let folder = ComputationFolder.find(in: launch.checkpointDirectory, computation: launch.computation)
        switch verdict.outcome {
        case .finished:
            clean(folder)
            return 0
        case .interrupted(let generation):
            report.note(
                "\(launch.name) is saved as generation \(generation) in \(folder?.path ?? "?"); the same command line"
                    + " goes on from there")
            return options.interruptedStatus
        case .failed(let generation):
            if generation > 0 {
                report.note(
                    "\(launch.name) ended with status \(verdict.end.status); generation \(generation) stays, the same"
                        + " command line goes on from it")
            }
            return verdict.end.status
        }
    }

    /// A finished computation leaves nothing behind, not even a folder for images that this command made.
    private func clean(_ folder: ComputationFolder?) {
        do throws(SystemError) { try folder?.remove() } catch {
            options.report.warning("the images of the finished program could not be removed: \(error)")
        }
        if options.madeCheckpointDirectory { rmdir(options.checkpointDirectory) }
    }
}

/// The two ways a supervised program comes to life; both as a child of this process.
struct AutomaticStart {
    let launcher: Launcher
    let launch: Launch
    let inherited: scp_signal_state
    let stopSignals: [Int32]

    /// Forks first, since the coordinator has to know the pid that will say HELLO; the child execs when it does.
    func program() throws(LaunchError) -> Int32 {
        let environment = launcher.environment(computation: launch.computation, autoSignals: stopSignals)
        let child = try system { () throws(SystemError) in
            try GatedChild(launcher.path, words: launcher.words, environment: environment, signals: inherited)
        }
        let pid = child.pid
        do throws(LaunchError) { try announce(pid) } catch {
            child.abandon()
            throw error
        }
        do throws(SystemError) { try child.release() } catch { throw LaunchError(error) }
        return pid
    }

    private func announce(_ pid: Int32) throws(LaunchError) {
        var announcement = launch
        announcement.pid = UInt32(pid)
        let launched = try wire { [announcement] () throws(WireError) in
            try launcher.access.announce(announcement)
        }
        guard launched.computation == launch.computation else {
            throw LaunchError(
                "the coordinator gave the computation the id \(launched.computation) instead of \(launch.computation),"
                    + " so --auto could not find it again; is it of another release?")
        }
    }

    /// Runs `swiftcp_restart`, which finds or starts the coordinator itself and stays as the program's parent.
    func restart(_ generation: String) throws(LaunchError) -> Int32 {
        let options = launcher.options
        let path = try wire { () throws(WireError) in try InstalledProgram.path("swiftcp_restart") }
        var words = [path, "--coordinator", launcher.access.address.description]
        words += ["--ckptdir", options.checkpointDirectory]
        if let choice = options.parsed.chosen("coordinator") { words.append("--" + choice) }
        if let interval = options.parsed.value("interval") { words += ["--interval", interval] }
        words += Array(repeating: "--quiet", count: options.parsed.quietness) + [generation]
        return try execute(path, words)
    }

    /// Whether a restart that ended with 4 did so because of the generation's files: a program may end with 4 too.
    func isDamaged(_ generation: String) throws(LaunchError) -> Bool {
        let path = try wire { () throws(WireError) in try InstalledProgram.path("swiftcp_restart") }
        let child = try execute(path, [path, "--verify-only", "-q", generation])
        return try system { () throws(SystemError) in
            var status: Int32 = 0
            while true {
                if waitpid(child, &status, 0) == child { return status == 4 << 8 }
                if errno != EINTR { throw SystemError(errno, "wait for", path) }
            }
        }
    }

    private func execute(_ path: String, _ words: [String]) throws(LaunchError) -> Int32 {
        do throws(SystemError) {
            let child = try GatedChild(
                path, words: words.map { Array($0.utf8) }, environment: .inherited(), signals: inherited)
            let pid = child.pid
            try child.release()
            return pid
        } catch { throw LaunchError(error) }
    }
}
