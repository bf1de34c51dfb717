// The one checksum of images: XXH3, 64 bits, by libxxhash's header (no call into its library, no heap).
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "memory.h"

static uint64_t checksum_plain(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}

uint64_t scp_checksum(const void *bytes, size_t length, uint64_t seed) {
    static int wide = -1;
    if (wide < 0)
        wide = scp_arch_wide();
    return wide ? scp_arch_checksum_wide(bytes, length, seed) : checksum_plain(bytes, length, seed);
}
