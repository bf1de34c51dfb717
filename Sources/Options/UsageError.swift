/// What is wrong with a command line or with a variable that stands for an option. Exit status 2.
public struct UsageError: Error, Equatable, Sendable {
    /// One sentence, without the command's name in front.
    public let message: String

    static func unknown(_ word: String, nearest: String?) -> UsageError {
        UsageError(message: "unknown option \(word)" + (nearest.map { "; did you mean \($0)?" } ?? ""))
    }
    static func notYet(_ what: String) -> UsageError {
        UsageError(message: "\(what) is not yet available in this release; leave it out")
    }
    static func missingArgument(_ option: String, _ name: String) -> UsageError {
        UsageError(message: "\(option) needs an argument: \(name)")
    }
    static func needlessArgument(_ option: String) -> UsageError {
        UsageError(message: "\(option) takes no argument")
    }
    static func invalid(_ source: String, _ text: String, _ expected: String) -> UsageError {
        UsageError(message: "\(source): '\(text)' is not \(expected)")
    }
}

/// The candidate with the fewest changed letters, if it is near enough to be meant; the first of several.
func nearest(to word: String, among candidates: [String]) -> String? {
    // Of two letters nothing can be told.
    let limit = word.count <= 2 ? 0 : Swift.max(2, word.count / 3)
    let rated = candidates.map { candidate in
        // A beginning of a longer word is a likelier slip than any other.
        (candidate, candidate.hasPrefix(word) && word.count > 3 ? 0 : distance(word, candidate))
    }
    guard let best = rated.min(by: { $0.1 < $1.1 }), best.1 <= limit else { return nil }
    return best.0
}

/// Levenshtein distance in characters.
private func distance(_ left: String, _ right: String) -> Int {
    let right = Array(right)
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, b) in right.enumerated() {
            let above = row[j + 1]
            row[j + 1] = Swift.min(above + 1, row[j] + 1, diagonal + (a == b ? 0 : 1))
            diagonal = above
        }
    }
    return row[right.count]
}
