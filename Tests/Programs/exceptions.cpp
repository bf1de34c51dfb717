// Exceptions thrown and caught across frames in several threads, thread_local objects with destructors, containers.
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "program.h"

static std::mutex mutex;
static uint64_t destroyed;

struct Tally {
    uint64_t count = 0;
    ~Tally() {
        std::lock_guard<std::mutex> hold(mutex);
        destroyed += count;
    }
};
static thread_local Tally tally;

static uint64_t descend(uint64_t state, int depth) {
    std::string kept = std::to_string(state);
    if (depth == 0)
        throw std::runtime_error(kept);
    return descend(program_step(state), depth - 1) + kept.size();
}

static void work(uint64_t *result, uint64_t seed) {
    std::map<std::string, uint64_t> seen;
    uint64_t state = seed;
    for (int round = 0; round < static_cast<int>(15000 * program_scale()); round++) {
        try {
            descend(state, 10);
        } catch (const std::exception &error) {
            tally.count++;
            state = program_step(std::stoull(error.what()));
            seen[std::string(error.what()).substr(0, 3)] += state;
        }
    }
    for (const auto &entry : seen)
        *result += entry.second;
}

int main() {
    std::vector<uint64_t> results(4);
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < results.size(); i++)
        threads.emplace_back(work, &results[i], i + 1);
    program_start();
    for (auto &thread : threads)
        thread.join();
    uint64_t sum = destroyed;
    for (uint64_t result : results)
        sum ^= result;
    return program_result(sum);
}
