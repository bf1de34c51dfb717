// Which compressor a pack gets.
//
// With `auto` the one that gets the image onto the disk soonest. Reading, compressing and writing go on at the same time,
// so a method takes as long as the slower of two: all helpers' compressing, or writing what is left of it. Both are measured
// while the image is made; now and then a method that is not the best is tried again, because memory changes its nature.
#include "encode.h"

#define DISK_GUESS 2.0 // ns for a byte, until something has been written
#define TRY_EVERY 16u // packs
#define WEIGHT 0.25 // of the newest measurement
#define WORTH 0.95 // a method must be so much quicker to be preferred to one that stores less

void scp_choice_open(struct scp_choice *choice, uint32_t compression) {
    static const struct scp_method automatic[SCP_CHOICES] = {
        {SCP_CHUNK_ZSTD, 3}, {SCP_CHUNK_ZSTD, 1}, {SCP_CHUNK_LZ4, 0}, {SCP_CHUNK_RAW, 0}}; // by what they store
    uint32_t kind = compression & 0xff;
    int level = (int)(compression >> 8);
    choice->automatic = kind == SCP_COMPRESSION_AUTO;
    choice->count = choice->automatic ? SCP_CHOICES : 1;
    for (uint32_t i = 0; i < SCP_CHOICES; i++)
        choice->methods[i] = automatic[i];
    if (kind == SCP_COMPRESSION_LZ4)
        choice->methods[0] = (struct scp_method){SCP_CHUNK_LZ4, 0};
    else if (kind == SCP_COMPRESSION_ZSTD)
        choice->methods[0] = (struct scp_method){SCP_CHUNK_ZSTD, level ? level : 1};
}

struct scp_method scp_choice_largest(const struct scp_choice *choice) {
    return choice->methods[0];
}

static double time_of(const struct scp_choice *choice, uint32_t method, uint32_t helpers) {
    double disk = choice->disk > 0 ? choice->disk : DISK_GUESS;
    if (choice->methods[method].encoding == SCP_CHUNK_RAW)
        return disk;
    double packing = choice->cost[method] / (helpers > 0 ? helpers : 1), writing = choice->ratio[method] * disk;
    return packing > writing ? packing : writing;
}

static uint32_t best(const struct scp_choice *choice, uint32_t helpers) {
    uint32_t found = 0;
    for (uint32_t i = 1; i < choice->count; i++)
        if (time_of(choice, i, helpers) < WORTH * time_of(choice, found, helpers))
            found = i;
    return found;
}

uint32_t scp_choice_next(struct scp_choice *choice, uint32_t helpers) {
    uint64_t number = choice->packs++;
    if (!choice->automatic)
        return 0;
    for (uint32_t i = 0; i < choice->count; i++)
        if (choice->cost[i] == 0 && choice->methods[i].encoding != SCP_CHUNK_RAW) // the quicker ones first, in turn
            return (uint32_t)(2 - number % 3);
    uint32_t others = choice->count - 1;
    return number % TRY_EVERY ? best(choice, helpers) : (uint32_t)(number / TRY_EVERY % others);
}

static void learn(double *value, double measured) {
    *value = *value == 0 ? measured : *value + WEIGHT * (measured - *value);
}

void scp_choice_packed(struct scp_choice *choice, const struct scp_pack *pack) {
    if (!choice->automatic || choice->methods[pack->choice].encoding == SCP_CHUNK_RAW || pack->took == 0)
        return;
    learn(&choice->cost[pack->choice], (double)pack->took / (double)pack->length);
    learn(&choice->ratio[pack->choice], (double)pack->stored / (double)pack->length);
}

void scp_choice_wrote(struct scp_choice *choice, size_t bytes, int64_t took) {
    if (bytes > 0 && took > 0)
        learn(&choice->disk, (double)took / (double)bytes);
}
