// xxh3_64, compiled in from the library's header without its library.
#include "restorer.h"

#define memcpy __builtin_memcpy // short fixed lengths: to become plain loads, not calls
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t restorer_checksum(const void *bytes, size_t length) {
    uint64_t sums[SCP_BLOCK_MAXIMUM / SCP_SUM_BYTES];
    size_t count = 0;
    for (size_t at = 0; at < length && count < sizeof sums / sizeof *sums; at += SCP_SUM_BYTES)
        sums[count++] =
            XXH3_64bits((const char *)bytes + at, length - at < SCP_SUM_BYTES ? length - at : SCP_SUM_BYTES);
    return XXH3_64bits(sums, count * sizeof *sums);
}
