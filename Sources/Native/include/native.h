// This target exists for its resources: libswiftcp.so and swiftcp_restorer, built by the BuildNative plugin.
#ifndef SWIFTCP_NATIVE_H
#define SWIFTCP_NATIVE_H
#endif
