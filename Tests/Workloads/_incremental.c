// For Tests/EndToEnd/incremental_test.py: MEGABYTES of pages that are all different. Orders come in a file of the working
// directory, one at a time, and "done" appears when it is carried out. At the end every word is compared.
//
//   write N    N pages get new content       drop N    N pages are given up       fork    a child, that waits for the end
//   direct     a file is opened for direct reading, or closed again               move    memory grows across mappings
#include "memory.h"
#include <sys/wait.h>

enum { MAXIMUM = 1 << 19, STEP = 7919, GROWN = 64 };
static uint32_t turns[MAXIMUM]; // of each page; 0 = it was given up
static size_t pages, last;
static char *memory, *grown; // grown: pages 0 to 63 filled with 77, 64 to 127 with 78, moved about
static int direct = -1;

static uint64_t word_of(size_t page, size_t word) {
    return turns[page] ? ((uint64_t)page << 40 | (uint64_t)turns[page] << 16 | word) * 0x9e3779b97f4a7c15u | 1 : 0;
}

static void change(size_t count, bool drop) {
    for (; count > 0; count--) {
        last = (last + STEP) % pages;
        uint64_t *words = (uint64_t *)(memory + last * PAGE);
        turns[last] = drop ? 0 : turns[last] + 1;
        if (drop)
            workload_check(madvise(words, PAGE, MADV_DONTNEED) == 0);
        else
            for (size_t i = 0; i < PAGE / sizeof *words; i++)
                words[i] = word_of(last, i);
    }
}

// Behind memory that was there at a checkpoint, more is mapped: to the program one piece.
static void move_across(void) {
    char *behind = grown + GROWN * PAGE;
    map_at(behind, GROWN * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    fill(behind, GROWN * PAGE, 78);
    char *blocked = behind + GROWN * PAGE; // no room to grow in place
    map_at(blocked, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    grown = mremap(grown, 2 * GROWN * PAGE, 4 * GROWN * PAGE, MREMAP_MAYMOVE);
    workload_check(grown != MAP_FAILED);
    check_zero("what mremap has added", grown + 2 * GROWN * PAGE, 2 * GROWN * PAGE);
    char *place = map_anonymous(4 * GROWN * PAGE);
    workload_check(mremap(grown, 4 * GROWN * PAGE, 4 * GROWN * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    grown = place;
}

static void toggle_direct(void) {
    if (direct >= 0)
        close(direct);
    direct = direct >= 0 ? -1 : open("direct", O_RDWR | O_CREAT | O_DIRECT, 0600);
}

static void carry_out(const char *order) {
    if (strncmp(order, "write", 5) == 0 || strncmp(order, "drop", 4) == 0)
        change((size_t)atoi(strchr(order, ' ')), order[0] == 'd');
    else if (strcmp(order, "direct") == 0)
        toggle_direct();
    else if (strcmp(order, "move") == 0)
        move_across();
    else if (strcmp(order, "fork") == 0 && fork() == 0) {
        workload_wait();
        _exit(0);
    }
}

static void look_for_order(void) {
    char order[64] = "";
    int file = open("order", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    workload_check(read(file, order, sizeof order - 1) > 0);
    close(file);
    carry_out(order);
    workload_check(rename("order", "done") == 0);
}

static void check_all(void) {
    for (size_t page = 0; page < pages; page++)
        for (size_t i = 0; i < PAGE / sizeof(uint64_t); i++)
            if (((uint64_t *)(memory + page * PAGE))[i] != word_of(page, i))
                workload_fail("word %zu of page %zu is another after %u turns", i, page, turns[page]);
    check_filled("what was moved", grown, GROWN * PAGE, 77);
}

int main(int argc, char **argv) {
    pages = ((size_t)(argc > 1 ? atoi(argv[1]) : 1) << 20) / PAGE;
    workload_check(pages <= MAXIMUM);
    memory = map_anonymous(pages * PAGE);
    grown = map_anonymous(3 * GROWN * PAGE);
    munmap(grown + GROWN * PAGE, 2 * GROWN * PAGE);
    fill(grown, GROWN * PAGE, 77);
    change(pages, false); // STEP is a prime: all of them
    workload_ready();
    while (workload_waiting()) {
        look_for_order();
        usleep(2000);
    }
    check_all();
    while (wait(NULL) > 0)
        ;
    workload_pass();
}
