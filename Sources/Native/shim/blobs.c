// Blobs: bytes that are not memory (what stood in a pipe, a deleted file). One is open at a time.
// The checksum is a chain over pieces of SCP_BLOCK_MAXIMUM bytes, so that a reader needs no more at once.
#include <errno.h>
#include <string.h>

#include "memory.h"

int scp_blob_begin(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory == NULL || checkpoint->image < 0 || memory->blob_open)
        return scp_fail(checkpoint, EBUSY, "a blob was begun out of turn", NULL);
    if (scp_memory_vector(&checkpoint->blobs, sizeof(struct scp_blob), 16) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of blobs", NULL);
    memory->blob_open = true;
    memory->blob_offset = checkpoint->file_position;
    memory->blob_length = memory->blob_checksum = memory->blob_fill = 0;
    return 0;
}

// Writes the piece gathered in staging.
static int put_piece(struct scp_checkpoint *checkpoint, struct scp_memory *memory) {
    size_t length = memory->blob_fill;
    memory->blob_checksum = scp_checksum(memory->staging, length, memory->blob_checksum);
    int result = scp_image_write(checkpoint, memory->staging, length, memory->blob_offset + memory->blob_length);
    memory->blob_length += length;
    memory->blob_fill = 0;
    return result;
}

int scp_blob_append(struct scp_checkpoint *checkpoint, const void *bytes, size_t length) {
    struct scp_memory *memory = checkpoint->image_private;
    const char *from = bytes;
    while (length > 0) {
        size_t room = SCP_BLOCK_MAXIMUM - memory->blob_fill, part = length < room ? length : room;
        memcpy(memory->staging + memory->blob_fill, from, part);
        memory->blob_fill += part;
        from += part;
        length -= part;
        int result = memory->blob_fill == SCP_BLOCK_MAXIMUM ? put_piece(checkpoint, memory) : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

int64_t scp_blob_end(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    int result = memory->blob_fill > 0 ? put_piece(checkpoint, memory) : 0;
    memory->blob_open = false;
    if (result < 0)
        return result;
    struct scp_blob *blob = scp_vector_add(&checkpoint->blobs);
    if (blob == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of blobs", NULL);
    *blob = (struct scp_blob){
        .offset = memory->blob_offset, .length = memory->blob_length, .checksum = memory->blob_checksum};
    uint64_t end = memory->blob_offset + memory->blob_length;
    checkpoint->file_position = (end + SCP_PAGE - 1) & ~(uint64_t)(SCP_PAGE - 1);
    return (int64_t)checkpoint->blobs.count - 1;
}
