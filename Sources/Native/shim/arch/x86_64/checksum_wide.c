// XXH3 with AVX2, for processors that have it: 35 GB/s instead of 20. Same result as checksum.c's.
#pragma GCC target("avx2")
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "memory.h"

uint64_t scp_arch_checksum_wide(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}
