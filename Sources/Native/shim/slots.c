// One slot for each user thread, in memory that is part of the image. A thread keeps its slot for life: what was left of
// an interrupted call's timeout stands there from one checkpoint to the next.
#include "slots.h"

#include <string.h>
#include <sys/mman.h>

#define SLOTS_PER_CHUNK 64
#define CHUNKS (SCP_SLOTS_MAXIMUM / SLOTS_PER_CHUNK)
#define INDEX_SIZE (4u * SCP_SLOTS_MAXIMUM) // a power of two

static struct scp_slot *chunks[CHUNKS];
SCP_FORK_DATA static size_t count;
static uint32_t slot_index[INDEX_SIZE]; // hash of tid -> slot number + 1
static size_t index_size, first_gone;

SCP_FORK_CODE size_t scp_slots_made(void) {
    return count;
}

struct scp_slot *scp_slot_number(size_t index) {
    return &chunks[index / SLOTS_PER_CHUNK][index % SLOTS_PER_CHUNK];
}

// The memory where the slot of this number is, or will be.
static bool chunk_map(size_t number) {
    const size_t bytes = sizeof(struct scp_slot) * SLOTS_PER_CHUNK;
    struct scp_slot **chunk = &chunks[number / SLOTS_PER_CHUNK];
    if (*chunk)
        return true;
    long memory =
        scp_call(SYS_mmap, scp_lasting_place(bytes), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096)
        return false;
    *chunk = (struct scp_slot *)memory;
    return true;
}

void scp_slots_expect(size_t threads) {
    for (size_t number = 0; number < threads && number < SCP_SLOTS_MAXIMUM; number += SLOTS_PER_CHUNK)
        chunk_map(number);
}

static struct scp_slot *slot_new(void) {
    bool there = count < SCP_SLOTS_MAXIMUM && chunk_map(count);
    return there ? scp_slot_number(count++) : NULL;
}

// Open addressing; made anew when a checkpoint begins and when half full.
static size_t index_place(uint32_t tid) {
    size_t place = tid * 2654435761u & (index_size - 1);
    while (slot_index[place] && scp_slot_number(slot_index[place] - 1)->tid != tid)
        place = (place + 1) & (index_size - 1);
    return place;
}

void scp_slots_reindex(void) {
    for (index_size = 1024; index_size < INDEX_SIZE && index_size < 4 * count;)
        index_size *= 2;
    memset(slot_index, 0, index_size * sizeof *slot_index);
    first_gone = count;
    for (size_t i = count; i-- > 0;) {
        if (atomic_load(&scp_slot_number(i)->state) == SCP_SLOT_GONE)
            first_gone = i;
        else
            slot_index[index_place(scp_slot_number(i)->tid)] = (uint32_t)i + 1;
    }
}

// A slot that no thread has any more, or a new one; its number in *number.
static struct scp_slot *slot_unused(size_t *number) {
    while (first_gone < count && atomic_load(&scp_slot_number(first_gone)->state) != SCP_SLOT_GONE)
        first_gone++;
    *number = first_gone;
    if (first_gone < count)
        return scp_slot_number(first_gone++);
    first_gone++;
    return slot_new();
}

struct scp_slot *scp_slot_for(uint32_t tid) {
    if (2 * count >= index_size)
        scp_slots_reindex();
    size_t place = index_place(tid), number;
    if (slot_index[place] && atomic_load(&scp_slot_number(slot_index[place] - 1)->state) != SCP_SLOT_GONE)
        return scp_slot_number(slot_index[place] - 1);
    struct scp_slot *slot = slot_unused(&number);
    if (!slot)
        return NULL;
    memset(slot, 0, sizeof *slot);
    slot->tid = tid;
    slot->call_number = -1;
    slot_index[place] = (uint32_t)number + 1;
    return slot;
}
