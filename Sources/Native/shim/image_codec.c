// The compressors. They are linked statically, with hidden names, and get all their memory from us: the program's heap
// must not be touched, its lock may be held by a thread that stands still.
#include <stdlib.h>

#define ZSTD_STATIC_LINKING_ONLY
#define LZ4_STATIC_LINKING_ONLY
#include <lz4.h>
#include <zstd.h>

#include "encode.h"

// ---- what the libraries would take from libc, and must not -------------------------------------------------------------

#define HIDDEN __attribute__((visibility("hidden"), used))

HIDDEN void *malloc(size_t size) {
    (void)size;
    return NULL;
}

HIDDEN void *calloc(size_t count, size_t size) {
    (void)count, (void)size;
    return NULL;
}

HIDDEN void free(void *memory) {
    (void)memory;
}

// Hooks that zstd looks for by weak names: it must not find the program's.
HIDDEN unsigned long long ZSTD_trace_compress_begin(const void *context) {
    (void)context;
    return 0;
}

HIDDEN void ZSTD_trace_compress_end(unsigned long long context, const void *trace) {
    (void)context, (void)trace;
}

// ---- one block ---------------------------------------------------------------------------------------------------------

struct codec { // at the start of its memory
    ZSTD_CCtx *zstd;
    uint8_t *lz4;
};

static size_t whole_pages(size_t bytes) {
    return (bytes + SCP_PAGE - 1) & ~(size_t)(SCP_PAGE - 1);
}

static size_t zstd_bytes(int level) {
    static const unsigned lengths[] = {4u << 10, 16u << 10, 128u << 10, 256u << 10, SCP_PACK_BYTES};
    size_t most = 0; // zstd's parameters go by the length, in steps
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t bytes = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, lengths[i], 0));
        most = bytes > most ? bytes : most;
    }
    return most;
}

//   struct codec | LZ4's state | zstd's
static size_t lz4_bytes(void) {
    return whole_pages(sizeof(struct codec) + 64 + (size_t)LZ4_sizeofState());
}

size_t scp_codec_bytes(const struct scp_method *largest) {
    size_t zstd = largest->encoding == SCP_CHUNK_ZSTD ? whole_pages(zstd_bytes(largest->level)) + SCP_PAGE : 0;
    return lz4_bytes() + zstd;
}

void *scp_codec_open(void *memory, size_t bytes) {
    struct codec *codec = memory;
    codec->lz4 = (uint8_t *)memory + 64;
    codec->zstd =
        bytes > lz4_bytes() ? ZSTD_initStaticCCtx((uint8_t *)memory + lz4_bytes(), bytes - lz4_bytes()) : NULL;
    return codec;
}

size_t scp_codec_pack(void *state, const struct scp_method *method, const void *in, size_t length, void *out,
                      size_t room) {
    struct codec *codec = state;
    if (method->encoding == SCP_CHUNK_LZ4) {
        int got = LZ4_compress_fast_extState(codec->lz4, in, out, (int)length, (int)room, 1);
        return got > 0 ? (size_t)got : 0;
    }
    if (method->encoding != SCP_CHUNK_ZSTD || codec->zstd == NULL)
        return 0;
    size_t got = ZSTD_compressCCtx(codec->zstd, out, room, in, length, method->level);
    return ZSTD_isError(got) ? 0 : got;
}
