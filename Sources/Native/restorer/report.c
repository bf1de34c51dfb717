// What went wrong, in words, over the status pipe.
#include "restorer.h"

struct restorer_text restorer_report_begin(struct restorer *restorer) {
    memset(&restorer->report, 0, sizeof restorer->report);
    char *text = restorer->report.text;
    return (struct restorer_text){text, text + sizeof restorer->report.text - 1};
}

void restorer_text_add(struct restorer_text *text, const char *words) {
    while (*words && text->at < text->end)
        *text->at++ = *words++;
}

static void add_number(struct restorer_text *text, uint64_t value, unsigned base) {
    char digits[21] = {0};
    int place = 20;
    do {
        uint64_t digit = value % base;
        digits[--place] = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
        value /= base;
    } while (value);
    restorer_text_add(text, digits + place);
}

void restorer_text_hex(struct restorer_text *text, uint64_t value) {
    add_number(text, value, 16);
}

void restorer_text_decimal(struct restorer_text *text, uint64_t value) {
    add_number(text, value, 10);
}

static void send(struct restorer *restorer, uint32_t state, long error, const char *what,
                 const struct scp_plan_region *region) {
    struct restorer_text text = restorer_report_begin(restorer);
    restorer_text_add(&text, what);
    if (region) {
        restorer_text_add(&text, " at ");
        restorer_text_hex(&text, region->start);
        restorer_text_add(&text, "-");
        restorer_text_hex(&text, region->end);
        const char *path = restorer_plan_string(restorer->plan, region->path);
        if (*path) {
            restorer_text_add(&text, " of ");
            restorer_text_add(&text, path);
        }
    }
    restorer->report.state = state;
    restorer->report.error = (int32_t)(error < 0 ? -error : error);
    call(write, restorer_plan_descriptor(restorer->plan, SCP_PLAN_DESCRIPTOR_STATUS), &restorer->report,
         sizeof restorer->report);
}

void restorer_fail(struct restorer *restorer, long error, const char *what, const struct scp_plan_region *region) {
    while (__atomic_exchange_n(&restorer->failing, 1, __ATOMIC_ACQ_REL))
        call(pause); // another thread tells, and ends all
    send(restorer, SCP_ARRIVAL_FAILED, error, what, region);
    for (;;)
        call(exit_group, RESTORER_EXIT_FAILED);
}

void restorer_warn(struct restorer *restorer, long error, const char *what, const struct scp_plan_region *region) {
    send(restorer, SCP_ARRIVAL_WARNING, error, what, region);
}
