// Compression: what the content of blocks goes through on its way to the file, when the order asks for it.
//
//   image_encode.c   content -> packs -> the file, in order; the table of chunks
//   image_choice.c   which compressor: the order's, or by measured speeds
//   image_helpers.c  threads that compress packs while the program runs
//   image_codec.c    the compressors, without heap
//
//   sink --copy--> | pack | pack | pack | pack | ...     a ring; the checkpoint thread fills it and empties it in order
//                     |      |      |                    helpers take what is full: READY -> TAKEN -> DONE
//                     +------+------+--> out --> writer --> file
#ifndef SWIFTCP_ENCODE_H
#define SWIFTCP_ENCODE_H

#include "memory.h"

#define SCP_PACKS 10 // of the ring
#define SCP_PACK_BYTES SCP_BLOCK_MAXIMUM
#define SCP_HELPERS_MAXIMUM 8

// A compressor and its level.
struct scp_method {
    uint32_t encoding; // enum scp_chunk_encoding
    int32_t level; // zstd's
};
enum scp_pack_state { SCP_PACK_FREE, SCP_PACK_READY, SCP_PACK_TAKEN, SCP_PACK_DONE };
struct scp_pack {
    _Atomic uint32_t state; // enum scp_pack_state; futex
    struct scp_method method; // asked for; when DONE: what it has become
    uint32_t choice; // image_choice.c's number of the method
    uint64_t place; // of the content
    size_t length; // bytes of content, in `content`
    size_t stored; // DONE: bytes to be written, in `packed`, or in `content` when they stay as they are
    uint64_t checksum; // DONE: of those
    int64_t took; // ns
    uint8_t *content, *packed; // SCP_PACK_BYTES each
};

// ---- image_codec.c ---------------------------------------------------------------------------------------------------
// Working memory for any method up to this one (bytes).
size_t scp_codec_bytes(const struct scp_method *largest);
// Makes of such memory a state for scp_codec_pack, which one thread uses at a time. NULL: it does not do.
void *scp_codec_open(void *memory, size_t bytes);
// Compresses length bytes into at most room. Returns how many, or 0 when they do not fit.
size_t scp_codec_pack(void *state, const struct scp_method *method, const void *in, size_t length, void *out,
                      size_t room);

// ---- image_helpers.c ---------------------------------------------------------------------------------------------------
struct scp_helper {
    struct scp_encoder *encoder;
    struct scp_helper_thread thread;
    void *codec;
};
struct scp_helpers {
    struct scp_helper one[SCP_HELPERS_MAXIMUM];
    uint32_t count; // that run
    uint32_t wanted; // as many as there are processors
    _Atomic uint32_t stop, events; // futex: something is READY, or they shall end
};
void scp_helpers_start(struct scp_encoder *encoder);
void scp_helpers_stop(struct scp_encoder *encoder); // waits for their end

// ---- image_choice.c ----------------------------------------------------------------------------------------------------
#define SCP_CHOICES 4
struct scp_choice {
    bool automatic;
    struct scp_method methods[SCP_CHOICES]; // of a fixed choice the first one
    uint32_t count;
    double cost[SCP_CHOICES]; // ns for a byte of content, of one thread; 0 = not measured
    double ratio[SCP_CHOICES]; // stored bytes for a byte of content
    double disk; // ns for a byte of the file
    uint64_t packs; // chosen so far
};
void scp_choice_open(struct scp_choice *choice, uint32_t compression); // as scp_checkpoint_order has it
struct scp_method scp_choice_largest(const struct scp_choice *choice);
uint32_t scp_choice_next(struct scp_choice *choice, uint32_t helpers); // index of methods
void scp_choice_packed(struct scp_choice *choice, const struct scp_pack *pack);
void scp_choice_wrote(struct scp_choice *choice, size_t bytes, int64_t took);

// ---- image_encode.c ----------------------------------------------------------------------------------------------------
struct scp_encoder {
    struct scp_pack packs[SCP_PACKS];
    uint8_t *ring; // their memory
    uint32_t next; // packs[next % SCP_PACKS] is being filled
    uint32_t oldest; // of those that have not been written
    _Atomic uint32_t published, taken; // packs that became READY, that a thread has begun with
    struct scp_helpers helpers;
    struct scp_choice choice;
    void *own_memory, *own_codec; // the checkpoint thread's, where there are no helpers
    uint8_t *outs; // the memory of two: one is filled while the other is written
    uint8_t *out; // gathered for one write; stands at file_position
    size_t out_used, passed; // bytes, passed: of the last write
    uint64_t end; // of the content
    uint64_t dead; // bytes of content that nobody has any more
    bool plain; // the program stands still: nothing is compressed now
    struct scp_vector chunks; // struct scp_chunk
};
// Takes one READY pack and compresses it. False: there is none.
bool scp_encode_one(struct scp_encoder *encoder, void *codec);

#endif
