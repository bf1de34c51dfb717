// Parallel loops with a reduction, dynamic scheduling and a critical section.
#include "program.h"
#include <omp.h>

int main(void) {
    uint64_t sum = 0, mixed = 0;
    program_start();
    for (int round = 0; round < (int)(30 * program_scale()); round++) {
#pragma omp parallel for schedule(dynamic, 4) reduction(+ : sum) num_threads(4)
        for (int i = 0; i < 400; i++)
            sum += program_steps((uint64_t)(round * 400 + i) | 1, 20000);
#pragma omp parallel num_threads(4)
#pragma omp critical
        mixed += program_step(sum + (uint64_t)omp_get_thread_num());
    }
    return program_result(sum ^ mixed);
}
