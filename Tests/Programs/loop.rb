# Threads, fibers, hashes.
scale = (ENV["SCALE"] || "1").to_f
$stdout.sync = true
puts "START"
threads = 3.times.map do |number|
  Thread.new do
    state = number + 1
    seen = Hash.new(0)
    fiber = Fiber.new { loop { Fiber.yield(state % 7) } }
    (800_000 * scale).to_i.times do |round|
      state = (state * 48271) % 2_147_483_647
      seen["k#{state % 101}"] += fiber.resume if round % 10 == 0
    end
    [state, seen.values.sum]
  end
end
puts "RESULT #{threads.map(&:value).flatten.join(' ')}"
