import CRestart
import CSwiftCP
import Glibc
import SystemCalls
import Testing

/// The trial of random trees is a program of its own: it enters namespaces, which a process with threads cannot.
@Suite("Random process trees, for real")
struct TreeTrialTests {
    private static let trees = "15"

    @Test("The kernel says of each what was planned", .timeLimit(.minutes(2)), .enabled(if: canEnter(geteuid())))
    func asMyself() throws {
        #expect(try run(["swiftcp_tree_trial", Self.trees], at: try program()) == 0)
    }

    @Test(
        "The same for an ordinary user", .timeLimit(.minutes(2)),
        .enabled(if: geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0 && canEnter(65534)))
    func asOrdinaryUser() throws {
        let copy = "/tmp/swiftcp-tree-trial-\(getpid())"
        defer { unlink(copy) }
        try #require(try run(["install", "-m", "755", try program(), copy], at: "/usr/bin/install") == 0)
        let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, Self.trees]
        #expect(try run(words, at: "/usr/bin/setpriv") == 0)
    }

    /// Where hosts refuse namespaces, sets cannot be restarted either.
    private static func canEnter(_ user: uid_t) -> Bool {
        var spaces = crestart_spaces()
        (spaces.user, spaces.group) = (geteuid(), getegid())
        spaces.flags = CRESTART_SPACE_PID.rawValue | (user == 0 ? 0 : CRESTART_SPACE_USER.rawValue)
        return crestart_spaces_probe(&spaces) == 0
    }

    private func program() throws -> String {
        let own = try Files.realPath("/proc/self/exe")
        return own[..<(own.lastIndex(of: "/") ?? own.startIndex)] + "/swiftcp_tree_trial"
    }

    /// The exit status; -1: it did not end in time, or by a signal.
    private func run(_ words: [String], at path: String) throws -> Int32 {
        let arguments = words.map { strdup($0) } + [nil]
        defer { for word in arguments { free(word) } }
        let pid = scp_fork()
        if pid == 0 {
            execve(path, arguments, environ)
            _exit(127)
        }
        try #require(pid > 0)
        var state = scp_child()
        let limit = Instant.now.advanced(seconds: 100)
        while Instant.now < limit, scp_child_state(pid, &state) == 0, state.event == SCP_CHILD_NONE.rawValue {
            _ = poll(nil, 0, 5)
        }
        if state.event == SCP_CHILD_NONE.rawValue { kill(pid, SIGKILL) }
        return state.event == SCP_CHILD_EXITED.rawValue ? state.value : -1
    }
}
