import Options
import SystemCalls

/// Why a program was not started, or its supervision ended: one sentence and the exit status of the contract.
public struct LaunchError: Error, Equatable, Sendable {
    public let status: Int32
    public let message: String

    init(_ message: String, status: Int32 = ExitStatus.failed) {
        self.message = message
        self.status = status
    }

    init(_ error: SystemError) { self.init(error.description) }

    static func refused(_ path: String, _ reason: String) -> LaunchError {
        LaunchError("cannot start \(path) under SwiftCP: \(reason)")
    }
}

/// Runs a body whose system call errors become `LaunchError`.
func system<Value: ~Copyable>(_ body: () throws(SystemError) -> Value) throws(LaunchError) -> Value {
    do throws(SystemError) { return try body() } catch { throw LaunchError(error) }
}
