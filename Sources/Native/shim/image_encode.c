// Content on its way through the compressors, and the table that says where it went: encode.h.
//
// A page that is saved again cannot go to its old place, whose pack may have been compressed and written: it goes to the
// end of the content, and its old bytes are dead (Docs/decisions/0011-compressed-chunks.md).
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "encode.h"
#include "worker.h"

#define OUT_BYTES (4u << 20) // written at once
#define OUT_ROOM (OUT_BYTES + SCP_PACK_BYTES)
#define GAIN 16 // a pack is stored compressed when that saves more than one part in so many

static struct scp_memory *memory_of(const struct scp_checkpoint *checkpoint) {
    return checkpoint->image_private;
}

// ---- start and end -------------------------------------------------------------------------------------------------------

int scp_encode_open(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    if ((checkpoint->order->compression & 0xff) == SCP_COMPRESSION_NONE)
        return 0;
    struct scp_encoder *encoder = memory->encoder = scp_scratch_map(sizeof *encoder);
    if (encoder == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory to compress the image", NULL);
    scp_choice_open(&encoder->choice, checkpoint->order->compression);
    encoder->ring = scp_scratch_map((size_t)SCP_PACKS * 2 * SCP_PACK_BYTES);
    encoder->outs = encoder->out = scp_scratch_map((size_t)2 * OUT_ROOM);
    encoder->end = SCP_DATA_OFFSET;
    int result = scp_vector_open(&encoder->chunks, sizeof(struct scp_chunk), 1024);
    if (result != 0 || encoder->ring == NULL || encoder->out == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory to compress the image", NULL);
    for (size_t i = 0; i < SCP_PACKS; i++) {
        encoder->packs[i].content = encoder->ring + i * 2 * SCP_PACK_BYTES;
        encoder->packs[i].packed = encoder->packs[i].content + SCP_PACK_BYTES;
    }
    return 0;
}

void scp_encode_close(struct scp_memory *memory) {
    struct scp_encoder *encoder = memory->encoder;
    if (encoder == NULL)
        return;
    scp_helpers_stop(encoder);
    scp_vector_close(&encoder->chunks);
    scp_scratch_unmap(encoder->ring);
    scp_scratch_unmap(encoder->outs);
    scp_scratch_unmap(encoder->own_memory);
    scp_scratch_unmap(encoder);
    memory->encoder = NULL;
}

uint64_t *scp_content_end(struct scp_checkpoint *checkpoint) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    return encoder ? &encoder->end : &checkpoint->file_position;
}

// ---- one pack ------------------------------------------------------------------------------------------------------------

static void finish_pack(struct scp_pack *pack, size_t stored) {
    const uint8_t *bytes = stored > 0 ? pack->packed : pack->content;
    if (stored == 0)
        pack->method.encoding = SCP_CHUNK_RAW;
    pack->stored = stored > 0 ? stored : pack->length;
    pack->checksum = scp_checksum(bytes, pack->stored, 0);
    atomic_store(&pack->state, SCP_PACK_DONE);
}

static bool take(struct scp_encoder *encoder, uint32_t *index) {
    uint32_t taken = atomic_load(&encoder->taken);
    while (taken != atomic_load(&encoder->published))
        if (atomic_compare_exchange_weak(&encoder->taken, &taken, taken + 1)) {
            *index = taken;
            return true;
        }
    return false;
}

bool scp_encode_one(struct scp_encoder *encoder, void *codec) {
    uint32_t index;
    if (!take(encoder, &index))
        return false;
    struct scp_pack *pack = &encoder->packs[index % SCP_PACKS];
    int64_t start = scp_now();
    size_t stored = 0;
    if (pack->method.encoding != SCP_CHUNK_RAW)
        stored = scp_codec_pack(codec, &pack->method, pack->content, pack->length, pack->packed,
                                pack->length - pack->length / GAIN);
    pack->took = scp_now() - start;
    finish_pack(pack, stored);
    scp_futex_wake(&pack->state, 1);
    return true;
}

// ---- to the file ---------------------------------------------------------------------------------------------------------

// How long so many bytes take the disk: no less than the limit has them take, which lets those pass at once that come late.
static int64_t disk_time(const struct scp_checkpoint *checkpoint, size_t length, int64_t took) {
    uint64_t limit = checkpoint->order->io_limit; // MB/s: bytes in a microsecond
    int64_t least = limit > 0 ? (int64_t)(length / limit) * 1000 : 0;
    return took > least ? took : least;
}

// The last write. Of the speed of the disk only large ones tell something.
static int await_written(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    struct scp_encoder *encoder = memory->encoder;
    int result = scp_sink_await(checkpoint);
    if (result == 0 && encoder->passed == OUT_BYTES)
        scp_choice_wrote(&encoder->choice, OUT_BYTES, disk_time(checkpoint, OUT_BYTES, memory->writing.took));
    encoder->passed = 0;
    return result;
}

// What is beyond `length` goes to the other buffer, which was written before.
static int write_out(struct scp_checkpoint *checkpoint, size_t length) {
    struct scp_memory *memory = memory_of(checkpoint);
    struct scp_encoder *encoder = memory->encoder;
    int result = await_written(checkpoint);
    if (result < 0)
        return result;
    uint8_t *full = encoder->out;
    uint64_t offset = checkpoint->file_position;
    encoder->out = full == encoder->outs ? encoder->outs + OUT_ROOM : encoder->outs;
    encoder->out_used -= length;
    memcpy(encoder->out, full + length, encoder->out_used);
    encoder->passed = length;
    checkpoint->file_position += length;
    bool waits = encoder->choice.automatic && memory->direct < 0 && length == OUT_BYTES; // small images: the page cache
    return scp_sink_pass(checkpoint, full, length, offset, waits);
}

static int put(struct scp_checkpoint *checkpoint, const struct scp_pack *pack) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    struct scp_chunk chunk = {.place = pack->place,
                              .length = pack->length,
                              .offset = checkpoint->file_position + encoder->out_used,
                              .stored_length = pack->stored,
                              .checksum = pack->checksum,
                              .encoding = pack->method.encoding};
    if (scp_vector_append(&encoder->chunks, &chunk, 1) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of chunks", NULL);
    memcpy(encoder->out + encoder->out_used, chunk.encoding == SCP_CHUNK_RAW ? pack->content : pack->packed,
           pack->stored);
    encoder->out_used += pack->stored;
    return encoder->out_used < OUT_BYTES ? 0 : write_out(checkpoint, OUT_BYTES);
}

static void *own_codec(struct scp_encoder *encoder) {
    struct scp_method largest = scp_choice_largest(&encoder->choice);
    size_t bytes = scp_codec_bytes(&largest);
    if (encoder->own_memory == NULL) {
        encoder->own_memory = scp_scratch_map(bytes);
        encoder->own_codec = encoder->own_memory ? scp_codec_open(encoder->own_memory, bytes) : NULL;
    }
    return encoder->own_codec;
}

// Without helpers the checkpoint thread compresses itself, and without memory for that it stores the pack as it is.
static void await_pack(struct scp_encoder *encoder, struct scp_pack *pack) {
    uint32_t state;
    while ((state = atomic_load(&pack->state)) != SCP_PACK_DONE) {
        if (encoder->helpers.count > 0) {
            scp_futex_wait(&pack->state, state, -1);
            continue;
        }
        void *codec = pack->method.encoding == SCP_CHUNK_RAW ? NULL : own_codec(encoder);
        if (codec == NULL)
            pack->method.encoding = SCP_CHUNK_RAW;
        scp_encode_one(encoder, codec);
    }
}

// Writes the packs that are done, in order; all that are before `until`, and further ones if they are done already.
static int write_packs(struct scp_checkpoint *checkpoint, uint32_t until) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    int result = 0;
    while (result == 0 && encoder->oldest != encoder->next) {
        struct scp_pack *pack = &encoder->packs[encoder->oldest % SCP_PACKS];
        if ((int32_t)(until - encoder->oldest) > 0)
            await_pack(encoder, pack);
        else if (atomic_load(&pack->state) != SCP_PACK_DONE)
            break;
        scp_choice_packed(&encoder->choice, pack);
        result = put(checkpoint, pack);
        atomic_store(&pack->state, SCP_PACK_FREE);
        encoder->oldest++;
    }
    return result;
}

// ---- in ------------------------------------------------------------------------------------------------------------------

// The pack that was filled is for the helpers. While the program stands still it stays as it is, unless all of its memory
// is taken in the pause anyway.
static int publish(struct scp_checkpoint *checkpoint) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    struct scp_pack *pack = &encoder->packs[encoder->next % SCP_PACKS];
    if (pack->length == 0)
        return 0;
    pack->choice = scp_choice_next(&encoder->choice, encoder->helpers.count);
    pack->method = encoder->choice.methods[pack->choice];
    if (encoder->plain)
        pack->method.encoding = SCP_CHUNK_RAW;
    pack->took = 0;
    encoder->next++;
    atomic_store(&pack->state, SCP_PACK_READY);
    atomic_fetch_add(&encoder->published, 1);
    if (encoder->helpers.count == 0 && encoder->next - encoder->oldest > 1 && !encoder->plain &&
        scp_helper_threads_may(checkpoint))
        scp_helpers_start(encoder);
    atomic_fetch_add(&encoder->helpers.events, 1);
    scp_futex_wake(&encoder->helpers.events, 1);
    // Room for the next one: the ring's oldest must have left.
    int result = write_packs(checkpoint, encoder->next + 1 - SCP_PACKS);
    encoder->packs[encoder->next % SCP_PACKS].length = 0;
    return result;
}

int scp_encode_write(struct scp_checkpoint *checkpoint, const void *content, size_t length, uint64_t place) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    const uint8_t *bytes = content;
    while (length > 0) {
        struct scp_pack *pack = &encoder->packs[encoder->next % SCP_PACKS];
        bool follows = pack->length > 0 && pack->place + pack->length == place;
        if (pack->length > 0 && (!follows || pack->length == SCP_PACK_BYTES)) {
            int result = publish(checkpoint);
            if (result < 0)
                return result;
            continue;
        }
        if (pack->length == 0)
            pack->place = place;
        size_t room = SCP_PACK_BYTES - pack->length, part = length < room ? length : room;
        memcpy(pack->content + pack->length, bytes, part);
        pack->length += part;
        bytes += part;
        place += part;
        length -= part;
    }
    return 0;
}

// ---- between -------------------------------------------------------------------------------------------------------------

int scp_encode_rest(struct scp_checkpoint *checkpoint) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    if (encoder == NULL)
        return 0;
    int result = publish(checkpoint);
    if (result == 0)
        result = write_packs(checkpoint, encoder->next);
    if (result == 0 && encoder->out_used > 0)
        result = write_out(checkpoint, encoder->out_used);
    if (result == 0)
        result = await_written(checkpoint);
    checkpoint->file_position = (checkpoint->file_position + SCP_PAGE - 1) & ~(uint64_t)(SCP_PAGE - 1);
    scp_helpers_stop(encoder);
    scp_call(SYS_madvise, encoder->ring, (size_t)SCP_PACKS * 2 * SCP_PACK_BYTES, MADV_DONTNEED);
    return result;
}

void scp_encode_plain(struct scp_checkpoint *checkpoint, bool plain) {
    struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    if (encoder != NULL)
        encoder->plain = plain;
}

void scp_encode_dead(struct scp_checkpoint *checkpoint, uint64_t bytes) {
    memory_of(checkpoint)->encoder->dead += bytes;
}

bool scp_encode_full(const struct scp_checkpoint *checkpoint, uint64_t more) {
    const struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    return encoder != NULL && (encoder->dead + more) * 2 > encoder->end - encoder->dead;
}

const struct scp_vector *scp_encode_chunks(const struct scp_checkpoint *checkpoint) {
    const struct scp_encoder *encoder = memory_of(checkpoint)->encoder;
    return encoder ? &encoder->chunks : NULL;
}
