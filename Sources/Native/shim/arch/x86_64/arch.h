// What a port supplies to the shim: raw system calls; the shape of a signal frame stands in entry.h. x86-64.
#ifndef SWIFTCP_ARCH_H
#define SWIFTCP_ARCH_H

#include <stdint.h>
#include <sys/syscall.h>

#include "raw_call.h" // Native/arch/<name>

#endif
