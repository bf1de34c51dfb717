// What this process holds that another one of the computation may hold too: every open file description, and shared memory
// whose content an image must hold. The coordinator compares all processes' lists and answers with a number for each thing,
// equal in all of them, and whether this process is the one that saves its content.
#include "worker.h"

#include <errno.h>
#include <string.h>

// A SysV segment's inode number is its id, which may be an anonymous object's number on the same device.
#define SYSV_MARK (1ull << 63)
#define IPC_MARK (3ull << 62)
#define QUEUE_MARK (5ull << 61)
#define NAMED_MARK (7ull << 61)

static bool is_shared_memory(const struct scp_region *region) {
    return region->kind == SCP_REGION_SHARED_ANONYMOUS || region->kind == SCP_REGION_SYSV ||
           (region->kind == SCP_REGION_SHARED_FILE && (region->protection & 2 /* PROT_WRITE */));
}

static int add(struct scp_vector *out, const struct scp_survey_entry *entry) {
    return scp_vector_append(out, entry, sizeof *entry);
}

static int add_memory(struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    int result = 0;
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        struct scp_survey_entry entry = {.kind = SCP_SURVEY_MEMORY,
                                         .number = -1,
                                         .device = region->device,
                                         .inode = region->inode,
                                         .offset = region->file_offset,
                                         .length = region->end - region->start};
        if (region->kind == SCP_REGION_SYSV)
            entry.device |= SYSV_MARK;
        if (is_shared_memory(region))
            result = add(out, &entry);
    }
    return result;
}

// The kernel's number of each kind on a device that there is not.
static int add_ipc(struct scp_vector *out) {
    uint32_t kind, id;
    int result = 0;
    for (size_t i = 0; result == 0 && scp_ipc_known(i, &kind, &id); i++) {
        struct scp_survey_entry entry = {
            .kind = SCP_SURVEY_MEMORY, .number = -1, .device = IPC_MARK | kind, .inode = id, .length = 1};
        result = add(out, &entry);
    }
    return result;
}

static int add_queues(struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < checkpoint->objects.count; i++) {
        struct scp_survey_entry entry = {.kind = SCP_SURVEY_MEMORY, .number = -1, .length = 1};
        if (scp_is_message_queue(checkpoint, i, &entry.device, &entry.inode)) {
            entry.device |= QUEUE_MARK;
            result = add(out, &entry);
        }
    }
    return result;
}

// Who looks for the shared memory objects that nobody has open: one of all.
static int add_named(struct scp_vector *out) {
    struct scp_survey_entry entry = {.kind = SCP_SURVEY_MEMORY, .number = -1, .device = NAMED_MARK, .length = 1};
    return add(out, &entry);
}

static int add_descriptions(struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < checkpoint->objects.count; i++) {
        struct scp_survey_entry entry = {.kind = SCP_SURVEY_DESCRIPTION};
        if (scp_descriptors_describe(checkpoint, i, &entry))
            result = add(out, &entry);
    }
    return result;
}

int scp_survey_send(struct scp_checkpoint *checkpoint) {
    struct scp_survey head = {.generation = checkpoint->order->generation};
    struct scp_vector message;
    int result = scp_regions_examine(checkpoint);
    if (result == 0)
        result = scp_descriptors_list_all(checkpoint);
    if (result < 0)
        return result;
    if (scp_vector_open(&message, 1, SCP_PAGE) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory to tell what the processes share", (char *)NULL);
    result = scp_vector_append(&message, &head, sizeof head);
    if (result == 0)
        result = add_descriptions(checkpoint, &message);
    if (result == 0)
        result = add_memory(checkpoint, &message);
    if (result == 0)
        result = add_ipc(&message);
    if (result == 0)
        result = add_queues(checkpoint, &message);
    if (result == 0)
        result = add_named(&message);
    head.count = (uint32_t)((message.count - sizeof head) / sizeof(struct scp_survey_entry));
    memcpy(message.base, &head, sizeof head);
    checkpoint->surveyed_count = head.count;
    if (result == 0 && message.count > SCP_FRAME_MAXIMUM - sizeof(struct scp_frame))
        result = scp_fail(checkpoint, E2BIG, "the process holds more than 400,000 descriptors and shared mappings",
                          (char *)NULL);
    else if (result == 0)
        result = scp_link_send(SCP_MESSAGE_SURVEY, message.base, message.count);
    scp_vector_close(&message);
    return result < 0 ? scp_fail(checkpoint, -result, "what the processes share could not be told", (char *)NULL) : 0;
}

// ---- the answer -------------------------------------------------------------------------------------------------------

static void assign_object(struct scp_object *object, const struct scp_assigned *assigned) {
    object->identity = assigned->identity;
    if (!(assigned->flags & SCP_ASSIGNED_OWNER))
        object->flags |= SCP_OBJECT_BORROWED;
}

static void assign_region(struct scp_region *region, const struct scp_assigned *assigned) {
    if (region->kind == SCP_REGION_SHARED_ANONYMOUS)
        region->object = assigned->identity;
    if (!(assigned->flags & SCP_ASSIGNED_OWNER))
        region->flags |= SCP_REGION_ELSEWHERE;
}

int scp_survey_accept(struct scp_checkpoint *checkpoint, const void *payload, size_t length) {
    const struct scp_assignment *head = payload;
    const struct scp_assigned *next = (const struct scp_assigned *)(head + 1);
    if (length < sizeof *head || head->count != checkpoint->surveyed_count ||
        head->stopped > checkpoint->order->stopped_among ||
        length != sizeof *head + head->count * sizeof *next + head->stopped * sizeof(uint32_t))
        return scp_fail(checkpoint, EPROTO, "the coordinator's answer to what the processes share does not fit",
                        (char *)NULL);
    for (uint32_t i = 0; i < checkpoint->objects.count; i++) {
        struct scp_survey_entry entry;
        if (scp_descriptors_describe(checkpoint, i, &entry))
            assign_object(scp_vector_at(&checkpoint->objects, i), next++);
    }
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (is_shared_memory(region))
            assign_region(region, next++);
    }
    uint32_t kind, id;
    for (size_t i = 0; scp_ipc_known(i, &kind, &id); i++)
        scp_ipc_assign(i, (next++->flags & SCP_ASSIGNED_OWNER) != 0);
    uint64_t device, inode;
    for (uint32_t i = 0; i < checkpoint->objects.count; i++)
        if (scp_is_message_queue(checkpoint, i, &device, &inode))
            scp_message_queue_assign(checkpoint, i, (next++->flags & SCP_ASSIGNED_OWNER) != 0);
    scp_named_assign((next++->flags & SCP_ASSIGNED_OWNER) != 0);
    checkpoint->surveyed = true;
    return scp_vector_append(&checkpoint->stopped, next, head->stopped);
}
