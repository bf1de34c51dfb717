"""Changing checkpoint images on purpose: cut, flipped, or altered with the checksum made right again."""

import ctypes
import ctypes.util
import os
import struct

from .errors import Skipped

MAGIC = b"SWIFTCP\x01"
NOTE_CHUNKS = b"SWIFTCP\0"  # name of the note; before it stand the lengths and the type
CHUNK_TYPE, CHUNK_SIZE = 20, 48  # SCP_NOTE_CHUNKS, struct scp_chunk
# Offsets in struct scp_image_header (swiftcp_format.h).
FORMAT_VERSION, METADATA_OFFSET, METADATA_CHECKSUM, CPU_FEATURES = 8, 24, 40, 144


def xxh3(data, seed):
    """The library's XXH3_64bits_withSeed."""
    name = ctypes.util.find_library("xxhash") or "libxxhash.so.0"
    try:
        function = ctypes.CDLL(name).XXH3_64bits_withSeed
    except (OSError, AttributeError):
        raise Skipped("no libxxhash with XXH3 to make a checksum right with") from None
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return function(bytes(data), len(data), seed)


class ImageFile:
    """A copy of an image in memory."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = bytearray(file.read())
        self.header = self.bytes.rindex(MAGIC)

    def set32(self, offset, value):
        """Sets a field of the image header."""
        struct.pack_into("<I", self.bytes, self.header + offset, value)

    def get32(self, offset):
        return struct.unpack_from("<I", self.bytes, self.header + offset)[0]

    @property
    def metadata(self):
        """Where the metadata begins; before it stands the memory."""
        return struct.unpack_from("<Q", self.bytes, self.header + METADATA_OFFSET)[0]

    def chunks(self):
        """Where each struct scp_chunk of a compressed image stands."""
        head = struct.pack("<I", CHUNK_TYPE) + NOTE_CHUNKS
        place = self.bytes.find(head, self.metadata)
        if place < 0:
            return []
        length, first = struct.unpack_from("<I", self.bytes, place - 4)[0], place + len(head)
        return range(first, first + length, CHUNK_SIZE)

    def seal_chunk(self, place):
        """Makes the checksum right of the chunk whose record stands there."""
        _, _, offset, stored = struct.unpack_from("<4Q", self.bytes, place)
        struct.pack_into("<Q", self.bytes, place + 32, xxh3(self.bytes[offset:offset + stored], 0))

    def seal(self):
        """Makes the metadata's checksum right for what stands there now."""
        struct.pack_into("<Q", self.bytes, self.header + METADATA_CHECKSUM, 0)
        checksum = xxh3(self.bytes[self.metadata:], xxh3(self.bytes[:4096], 0))
        struct.pack_into("<Q", self.bytes, self.header + METADATA_CHECKSUM, checksum)

    def write(self, path):
        with open(path, "wb") as file:
            file.write(self.bytes)
        os.chmod(path, 0o600)


def flip_bits(path, places):
    """Changes one bit of each of the bytes at these places of any file."""
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        for place in places:
            content[place] ^= 1
        file.seek(0)
        file.write(content)
