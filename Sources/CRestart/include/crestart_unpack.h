// Unpacks the content of compressed images for the restorers.
#ifndef CRESTART_UNPACK_H
#define CRESTART_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "crestart_descriptors.h"
#include "crestart_progress.h"
#include "swiftcp_format.h"

// Who looks on. To each chunk half its length is counted: the other half when a restorer has put it in place.
struct crestart_onlooker {
    const struct crestart_progress *progress;
    void (*look)(void *argument); // called now and then
    void *argument;
};

// A memfd (close-on-exec, owned by the caller) that has the content of `chunks` at their places: made by as many processes as
// there are processors for this one; all of them have ended when it returns. The chunks' bounds have been checked; their
// checksums are compared here. -EBADMSG: one is damaged; the message says which. `onlooker` may be NULL.
int crestart_unpack(int image, const struct scp_chunk *chunks, size_t count, const struct crestart_onlooker *onlooker,
                    struct crestart_message *message);

#endif
