-- Coroutines, tables, strings.
local scale = tonumber(os.getenv("SCALE") or "1")
io.stdout:setvbuf("line")
print("START")
local state, seen = 1, {}
local numbers = coroutine.wrap(function()
    while true do
        state = state * 48271 % 2147483647
        coroutine.yield(state)
    end
end)
for round = 1, math.floor(3000000 * scale) do
    local key = numbers() % 997
    seen[key] = (seen[key] or 0) + round % 13
    if round % 100000 == 0 then seen["s" .. round] = #tostring(state) end
end
local sum = 0
for _, value in pairs(seen) do sum = sum + value end
print("RESULT " .. state .. " " .. string.format("%d", sum))
