// For workloads with several cases: WORKLOAD_CASES({"name", function}, …) is their main.
#ifndef SWIFTCP_WORKLOAD_CASES_H
#define SWIFTCP_WORKLOAD_CASES_H

#include "workload.h"

struct workload_case {
    const char *name;
    void (*run)(void); // prepares, workload_ready(), workload_wait(), checks
};

__attribute__((unused)) static int workload_run_case(const struct workload_case *cases, size_t count,
                                                     const char *name) {
    for (size_t i = 0; i < count; i++)
        if (name != NULL && strcmp(name, cases[i].name) == 0) {
            cases[i].run();
            workload_pass();
        }
    workload_fail("there is no case %s", name == NULL ? "(none)" : name);
}

#define WORKLOAD_CASES(...)                                                                                            \
    int main(int words, char **word) {                                                                                 \
        static const struct workload_case cases[] = {__VA_ARGS__};                                                     \
        return workload_run_case(cases, sizeof cases / sizeof cases[0], words > 1 ? word[1] : NULL);                   \
    }

#endif
