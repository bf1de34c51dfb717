// Unpacks the content of compressed images for the restorers.
#ifndef CRESTART_UNPACK_H
#define CRESTART_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "crestart_descriptors.h"
#include "swiftcp_format.h"

// A memfd (close-on-exec, owned by the caller) that has the content of `chunks` at their places: made by as many processes as
// there are processors for this one; all of them have ended when it returns. The chunks' bounds have been checked; their
// checksums are compared here. -EBADMSG: one is damaged; the message says which.
int crestart_unpack(int image, const struct scp_chunk *chunks, size_t count, struct crestart_message *message);

#endif
