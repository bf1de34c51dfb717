// Does this processor have what the program may have found and used?
#include "crestart_process.h"

#include <string.h>

#include "swiftcp_cpu.h"

static void append(char *out, size_t size, const char *word) {
    size_t used = strlen(out);
    if (used + strlen(word) + 3 > size)
        return;
    if (used)
        strcat(out, ", ");
    strcat(out, word);
}

int crestart_missing_features(const uint32_t *wanted, uint64_t xfeatures, char *out, size_t size) {
    uint32_t here[SCP_CPU_WORDS];
    int count = 0;
    out[0] = 0;
    scp_cpu_features(here);
    for (unsigned word = 0; word < SCP_CPU_WORDS; word++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            if (!(wanted[word] & ~here[word] & 1u << bit))
                continue;
            const char *name = scp_cpu_feature_name(word, bit);
            append(out, size, *name ? name : "an unnamed one");
            count++;
        }
    }
    if (count == 0 && xfeatures & ~scp_cpu_xfeatures()) {
        append(out, size, "register state that the kernel here has not enabled (XCR0)");
        count++;
    }
    return count;
}
