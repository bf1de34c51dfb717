// Queues, groups, timers and a concurrent loop of Dispatch.
import Dispatch
import Glibc

let scale = getenv("SCALE").flatMap { Double(String(cString: $0)) } ?? 1

func steps(_ start: UInt64, _ count: Int) -> UInt64 {
    var state = start
    for _ in 0..<count {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
    }
    return state
}

final class Total: @unchecked Sendable {
    private let queue = DispatchQueue(label: "total")
    private var value: UInt64 = 0
    func add(_ more: UInt64) { queue.sync { value &+= more } }
    var result: UInt64 { queue.sync { value } }
}

let total = Total()
let ticks = Total()
let timer = DispatchSource.makeTimerSource(queue: .global())
timer.schedule(deadline: .now(), repeating: .milliseconds(10))
timer.setEventHandler { ticks.add(1) }
timer.resume()
print("START")
fflush(stdout)
for round in 0..<Int(50 * scale) {
    DispatchQueue.concurrentPerform(iterations: 8) { total.add(steps(UInt64(round * 8 + $0 + 1), 1_000_000)) }
    let group = DispatchGroup()
    for part in 0..<4 {
        DispatchQueue.global().async(group: group) { total.add(steps(UInt64(part + 1), 100_000)) }
    }
    group.wait()
}
print(ticks.result > 0 ? "RESULT \(total.result)" : "FAIL the timer has not fired")
