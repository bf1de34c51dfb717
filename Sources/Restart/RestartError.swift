import ImageFormat
import Options
import SystemCalls
import Wire

/// Why a program was not brought back: one sentence and the exit status of the contract.
public struct RestartError: Error, Equatable, Sendable {
    public let status: Int32
    public let message: String
    /// A process or thread id of the program was taken at the last moment: another layer may do.
    let isTaken: Bool

    init(_ message: String, status: Int32 = ExitStatus.failed, isTaken: Bool = false) {
        self.message = message
        self.status = status
        self.isTaken = isTaken
    }

    init(_ error: SystemError) { self.init(error.description) }
    init(_ error: ImageError) { self.init(error.description, status: error.exitStatus) }
    init(_ error: WireError) { self.init(error.text, status: error.exitStatus) }

    /// The image is at fault, or does not suit this host: exit status 4.
    static func unusable(_ path: String, _ reason: String) -> RestartError {
        RestartError("\(path): \(reason)", status: ExitStatus.badImage)
    }
}

// A closure's thrown type is not inferred: one converter for each library below.
@discardableResult
func system<Value: ~Copyable>(_ body: () throws(SystemError) -> Value) throws(RestartError) -> Value {
    do throws(SystemError) { return try body() } catch { throw RestartError(error) }
}
func reading<Value>(_ body: () throws(ImageError) -> Value) throws(RestartError) -> Value {
    do throws(ImageError) { return try body() } catch { throw RestartError(error) }
}
func speaking<Value: ~Copyable>(_ body: () throws(WireError) -> Value) throws(RestartError) -> Value {
    do throws(WireError) { return try body() } catch { throw RestartError(error) }
}
