// Addresses and options as a socket's description holds them.
#ifndef CRESTART_DESCRIPTORS_SOCKETS_H
#define CRESTART_DESCRIPTORS_SOCKETS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "descriptors_internal.h"

struct crestart_address {
    struct sockaddr_storage bytes;
    socklen_t length; // 0 = none
};
// word is "n=" (own) or "p=" (peer).
struct crestart_address crestart_address_of(const struct crestart_tables *tables, uint32_t object, const char *word);
// True when the socket is bound to something: a Unix name, or an Internet port.
bool crestart_is_bound(const struct crestart_address *address);
// Of an Internet address: where its port is, in network order; and the port as a number.
in_port_t *crestart_port_of(struct crestart_address *address);
unsigned crestart_port(const struct crestart_address *address);
// The Unix name with its NUL; text[0] is NUL when there is none, or an abstract one.
#define CRESTART_UNIX_NAME (sizeof((struct sockaddr_un *)0)->sun_path + 1)
void crestart_unix_name(const struct crestart_address *address, char text[CRESTART_UNIX_NAME]);

enum crestart_option_pass { CRESTART_BEFORE_BIND, CRESTART_HINDERING };
// Sets the recorded options of that pass; what cannot be set is warned of.
void crestart_set_options(struct crestart_descriptors *made, uint32_t object, int descriptor,
                          enum crestart_option_pass pass);

// Binds to the recorded name of the object, in its process's old working directory when the name is relative. A socket
// file that nobody listens at is replaced. 0 or -errno.
int crestart_bind(struct crestart_descriptors *made, uint32_t object, const struct crestart_address *address,
                  int descriptor);
// connect(2) to the recorded name of the object, likewise.
int crestart_connect(struct crestart_descriptors *made, uint32_t object, const struct crestart_address *address,
                     int descriptor);
int crestart_new_socket(const struct scp_object *entry); // close-on-exec; descriptor or -errno

// The recorded value of a flag, 0 when it is not recorded.
int crestart_recorded(const struct crestart_tables *tables, uint32_t object, int level, int name);

// ---- descriptors_tcp.c -----------------------------------------------------------------------------------------------
// Both ends of a TCP connection within the program (object == peer: connected to itself). 0 or -errno with the sentence.
int crestart_make_tcp(struct crestart_descriptors *made, uint32_t object, uint32_t peer);
// ends[0] with the address own, ends[1] with other, connected. 0 or -errno.
int crestart_connect_tcp(const struct scp_object *entry, const struct crestart_address *own,
                         const struct crestart_address *other, int attempts, int ends[2]);
void crestart_tcp_widen(int receiver);
int crestart_tcp_settle(int sender, int receiver);

// ---- descriptors_holders.c -------------------------------------------------------------------------------------------
// Does only a TIME_WAIT of a connection that has ended hold the port? It goes within 60 s; a program that does not set
// SO_REUSEADDR would have to wait for it as well.
bool crestart_port_lingers(const struct crestart_address *address);
struct crestart_address_text {
    char address[192]; // "127.0.0.1:1024", "[::1]:1024", a path, "@NAME"
    char holder[128]; // ", process 1234 (NAME) has it", for behind the address
};
// For messages about an address that is in use. type: SOCK_STREAM, SOCK_DGRAM, ...
void crestart_describe_address(const struct crestart_address *address, int type, struct crestart_address_text *text);

#endif
