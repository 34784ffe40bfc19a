"""
Whether a write-ahead log holds commits that SQLite would pass over.

After a crash the log's end may be torn: frames of the one commit that was
being written, which nobody was told of.  SQLite reads up to the first frame
whose checksum is wrong and takes the rest for such a tear.  But if a bit fell
over in the middle, what follows was acknowledged; it must not go missing
without a word.  Each commit is synced before the next one begins, so two or
more commits beyond the last readable frame are damage and not a tear.

The formats are those of U{https://sqlite.org/walformat.html}.
"""

from __future__ import annotations

import os
import struct

_HEADER = struct.Struct(">8I")  # magic, version, page size, number, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, size of the database after a commit or 0, as above
_READABLE_AT = 16  # of the number of readable frames in the log's index


def unreadable_commits(log: str, index: str) -> int:
    """
    How many commits stand in a log beyond what SQLite reads of it.

    @param log: path of the C{-wal} file.
    @param index: path of the C{-shm} file, as the last connection left it.
        No connection of this process may be open: closing a file gives up
        all of the process's locks on it.
    @return: 0 or 1 after any crash, more where the log is damaged.
    """
    if not os.path.exists(log) or not os.path.exists(index):
        return 0
    with open(index, "rb") as file:
        file.seek(_READABLE_AT)
        (readable,) = struct.unpack("=I", file.read(4).ljust(4, b"\0"))
    with open(log, "rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return 0
        page_bytes = _HEADER.unpack(header)[2]
        if not 512 <= page_bytes <= 65536:
            page_bytes = 4096  # the header is what is damaged; this is what we write
        step = _FRAME.size + page_bytes
        salts = _salts(header, file.read(_FRAME.size))
        commits = 0
        for offset in range(_HEADER.size + readable * step, os.path.getsize(log) - step + 1, step):
            file.seek(offset)
            _, size_after, *found, _, _ = _FRAME.unpack(file.read(_FRAME.size))
            commits += size_after != 0 and found == salts
        return commits


def _salts(header: bytes, first_frame: bytes) -> list[int]:
    """What marks a frame as this log's and not a leftover of the one before it."""
    if _checksum(header[:24]) == header[24:] or len(first_frame) < _FRAME.size:
        return list(_HEADER.unpack(header)[4:6])
    return list(_FRAME.unpack(first_frame)[2:4])


def _checksum(data: bytes) -> bytes:
    order = ">" if data[3] & 1 else "<"
    one = two = 0
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return struct.pack(">2I", one, two)
