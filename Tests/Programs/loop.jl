# Threads and arrays.
scale = parse(Float64, get(ENV, "SCALE", "1"))
println("START")
flush(stdout)
function work(rounds)
    total = UInt64(0)
    for round in 1:rounds
        parts = zeros(UInt64, 4)
        Threads.@threads for i in 1:4
            state = UInt64(round * 4 + i)
            for _ in 1:100000
                state = xor(state, state << 13); state = xor(state, state >> 7); state = xor(state, state << 17)
            end
            parts[i] = state
        end
        total += sum(parts)
    end
    total
end
println("RESULT ", work(Int(500 * scale)))
