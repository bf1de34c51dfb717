// The restorer's own mem* and text helpers; the compiler calls the first two by name.
#include "restorer.h"

void *memcpy(void *to, const void *from, size_t length) {
    char *target = to;
    const char *source = from;
    for (size_t i = 0; i < length; i++)
        target[i] = source[i];
    return to;
}

void *memset(void *to, int byte, size_t length) {
    char *target = to;
    for (size_t i = 0; i < length; i++)
        target[i] = (char)byte;
    return to;
}

size_t restorer_length(const char *text) {
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

bool restorer_begins(const char *text, const char *prefix) {
    while (*prefix)
        if (*text++ != *prefix++)
            return false;
    return true;
}
