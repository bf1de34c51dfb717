// One process's numbers being put in place: descriptors_place.c, descriptors_narrow.c. The rules at the head of the first hold.
#ifndef CRESTART_DESCRIPTORS_PLACING_H
#define CRESTART_DESCRIPTORS_PLACING_H

#include "descriptors_internal.h"

struct placing {
    const struct crestart_descriptors *made;
    uint32_t member;
    const struct scp_descriptor *descriptors; // of the process, ascending by number
    uint32_t descriptor_count;
    int *working; // by object, this process's
    size_t working_bytes;
    int *keep;
    size_t keep_count;
};

// The process has a descriptor of this number.
bool crestart_is_target(const struct placing *placing, int number);

// Moves every working descriptor of the process to the lowest number that refers to it, with one spare number in all; closes
// those the process has not, and moves kept ones off. 0 or -errno.
int crestart_place_narrowly(struct placing *placing);

#endif
