#define ZSTD_STATIC_LINKING_ONLY
#include <errno.h>
#include <lz4.h>
#include <string.h>
#include <zstd.h>

#include "ccodec.h"
#include "swiftcp_format.h"

void *ccodec_open(void) {
    return ZSTD_createDCtx();
}

void ccodec_close(void *codec) {
    ZSTD_freeDCtx(codec);
}

// One frame of today's format, nothing before or behind it, that says how long its content is: Debian's library would also
// take frames of formats long gone, and several in a row.
static int is_one_frame(const void *in, size_t length, size_t room) {
    uint32_t magic = 0;
    memcpy(&magic, in, length < sizeof magic ? length : sizeof magic);
    return magic == ZSTD_MAGICNUMBER && ZSTD_getFrameContentSize(in, length) == room &&
           ZSTD_findFrameCompressedSize(in, length) == length;
}

static int unpack_zstd(void *codec, const void *in, size_t length, void *out, size_t room) {
    if (!is_one_frame(in, length, room))
        return -EBADMSG;
    return ZSTD_decompressDCtx(codec, out, room, in, length) == room ? 0 : -EBADMSG;
}

static int unpack_lz4(const void *in, size_t length, void *out, size_t room) {
    if (length > LZ4_MAX_INPUT_SIZE || room > LZ4_MAX_INPUT_SIZE)
        return -EBADMSG;
    return LZ4_decompress_safe(in, out, (int)length, (int)room) == (int)room ? 0 : -EBADMSG;
}

int ccodec_unpack(void *codec, uint32_t encoding, const void *in, size_t length, void *out, size_t room) {
    switch (encoding) {
    case SCP_CHUNK_RAW:
        if (length != room)
            return -EBADMSG;
        memcpy(out, in, length);
        return 0;
    case SCP_CHUNK_LZ4:
        return unpack_lz4(in, length, out, room);
    case SCP_CHUNK_ZSTD:
        return unpack_zstd(codec, in, length, out, room);
    default:
        return -EBADMSG;
    }
}
