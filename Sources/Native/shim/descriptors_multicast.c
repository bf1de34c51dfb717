// Multicast memberships of a UDP socket. The kernel has no list of them for a socket; it answers whether the socket is in
// a given group on a given interface, and /proc lists the groups that anybody on this host is in.
#include "descriptors_sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct membership {
    uint32_t interface;
    bool six;
    uint8_t group[16]; // in network order
};

static bool is_member(int descriptor, const struct membership *membership) {
    struct group_filter whole, *filter = &whole;
    memset(filter, 0, sizeof *filter);
    filter->gf_interface = membership->interface;
    if (membership->six) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&filter->gf_group;
        address->sin6_family = AF_INET6;
        memcpy(&address->sin6_addr, membership->group, 16);
    } else {
        struct sockaddr_in *address = (struct sockaddr_in *)&filter->gf_group;
        address->sin_family = AF_INET;
        memcpy(&address->sin_addr, membership->group, 4);
    }
    uint32_t length = GROUP_FILTER_SIZE(0); // no sources asked for
    int level = membership->six ? IPPROTO_IPV6 : IPPROTO_IP;
    return scp_call(SYS_getsockopt, descriptor, level, MCAST_MSFILTER, filter, &length) == 0;
}

static const char *next_line(const char *line) {
    line = strchr(line, '\n');
    return line == NULL ? "" : line + 1;
}

// /proc/net/igmp: "2\teth0 :  1 V3" and below it, indented, "\t\t\t\t010000E0  1 0:00000000 0", the group in memory order.
static bool member_in_igmp(int descriptor, const char *line) {
    struct membership membership = {0};
    for (; *line != '\0'; line = next_line(line)) {
        const char *at = line;
        if (*at >= '0' && *at <= '9') {
            membership.interface = (uint32_t)scp_parse_decimal(&at);
            continue;
        }
        while (*at == '\t' || *at == ' ')
            at++;
        uint32_t group = (uint32_t)scp_parse_hex(&at);
        memcpy(membership.group, &group, sizeof group);
        if (group != 0 && is_member(descriptor, &membership))
            return true;
    }
    return false;
}

// /proc/net/igmp6: "2    eth0            ff02000000000000000000000000001 …".
static bool member_in_igmp6(int descriptor, const char *line) {
    for (; *line != '\0'; line = next_line(line)) {
        struct membership membership = {.six = true};
        const char *at = line;
        membership.interface = (uint32_t)scp_parse_decimal(&at);
        at += strspn(at, " ");
        at += strcspn(at, " ");
        at += strspn(at, " ");
        for (int i = 0; i < 16; i++, at += 2) {
            char pair[3] = {at[0], at[0] ? at[1] : '\0', '\0'};
            const char *cursor = pair;
            membership.group[i] = (uint8_t)scp_parse_hex(&cursor);
            if (cursor != pair + 2)
                break;
        }
        if (is_member(descriptor, &membership))
            return true;
    }
    return false;
}

int scp_refuse_multicast(struct scp_descriptor_work *work, struct scp_source *source) {
    bool six = scp_object_at(work, source->object)->value[SCP_SOCKET_DOMAIN] == AF_INET6, member = false;
    if (scp_read_file("/proc/net/igmp", &work->fdinfo) >= 0)
        member = member_in_igmp(source->descriptor, work->fdinfo.base);
    if (six && !member && scp_read_file("/proc/net/igmp6", &work->fdinfo) >= 0)
        member = member_in_igmp6(source->descriptor, work->fdinfo.base);
    work->fdinfo.count = 0;
    *(char *)work->fdinfo.base = '\0'; // a socket has no locks that the caller might look for in it
    return member ? scp_refuse(
                        work, source->object, ENOTSUP,
                        "has joined a multicast group, which SwiftCP cannot save yet: leave it before the checkpoint")
                  : 0;
}
