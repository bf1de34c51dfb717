// Unpacks chunks of compressed images (scp_chunk). The input is not trusted.
#ifndef CCODEC_H
#define CCODEC_H

#include <stddef.h>
#include <stdint.h>

// What unpacking needs, for one thread at a time; NULL when memory is short. Given back with ccodec_close.
void *ccodec_open(void);
void ccodec_close(void *codec);
// Unpacks `length` bytes at `in`, of enum scp_chunk_encoding `encoding`, into exactly `room` bytes at `out`; never writes
// more. 0, or -EBADMSG when they do not unpack to that.
int ccodec_unpack(void *codec, uint32_t encoding, const void *in, size_t length, void *out, size_t room);

#endif
