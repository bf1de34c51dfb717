import Glibc

/// A system call that failed: what was tried, on what, why, and what the user can do.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The `errno` value, positive.
    public let code: Int32
    /// A verb phrase that follows "cannot": `open`, `rename to /x`.
    public let operation: String
    /// What it was done to, a path mostly; may be empty.
    public let object: String
    /// What to do next, as a clause without a full stop; may be empty.
    public let hint: String

    public init(_ code: Int32, _ operation: String, _ object: String = "", hint: String = "") {
        self.code = code
        self.operation = operation
        self.object = object
        self.hint = hint
    }

    /// The error in `errno` right after a call that failed.
    public static func last(_ operation: String, _ object: String = "", hint: String = "") -> SystemError {
        SystemError(errno, operation, object, hint: hint)
    }

    /// The same failure with other advice.
    public func hinting(_ hint: String) -> SystemError {
        SystemError(code, operation, object, hint: hint)
    }

    /// The text of the `errno` value, as strerror(3) has it.
    public var reason: String { Self.reason(code) }

    public static func reason(_ code: Int32) -> String {
        guard let text = strerror(code) else { return "error \(code)" }
        return String(cString: text)
    }

    public var description: String {
        let what = object.isEmpty ? operation : "\(operation) \(object)"
        let advice = hint.isEmpty ? "" : "; \(hint)"
        return "cannot \(what): \(reason)\(advice)"
    }
}

/// Turns a C function's "result or -errno" into a value or a thrown error.
@discardableResult
public func check<Value: FixedWidthInteger>(
    _ value: Value, _ operation: @autoclosure () -> String, _ object: @autoclosure () -> String = "",
    hint: @autoclosure () -> String = ""
) throws(SystemError) -> Value {
    guard value >= 0 else {
        throw SystemError(Int32(truncatingIfNeeded: -Int64(value)), operation(), object(), hint: hint())
    }
    return value
}

// The errno values that are looked at outside this module, so that others need not import Glibc for them.
extension SystemError {
    public static let noEntry = ENOENT
    public static let alreadyExists = EEXIST
    public static let connectionRefused = ECONNREFUSED
    public static let tryAgain = EAGAIN
    public static let addressInUse = EADDRINUSE
    public static let noProcess = ESRCH
    public static let notPermitted = EPERM
    public static let notEmpty = ENOTEMPTY
    public static let tooManyFiles = EMFILE
    public static let tooManyFilesInSystem = ENFILE
}
