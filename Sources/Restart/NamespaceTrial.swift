import CRestart

/// A look, in a child, whether a layer's namespaces are to be had. Begun while this process waits for something else.
final class NamespaceTrial {
    let spaces: crestart_spaces
    private var trial = crestart_trial()
    private var answer: Int32?

    init(_ spaces: crestart_spaces) {
        self.spaces = spaces
        var spaces = spaces
        let result = crestart_trial_begin(&spaces, &trial)
        answer = result < 0 ? result : nil
    }

    deinit { _ = result }

    /// 0 or -errno; waits for the child.
    var result: Int32 {
        if let answer { return answer }
        let result = crestart_trial_end(&trial)
        answer = result
        return result
    }
}
