"""
Times how a stream is cut into messages: our receivers and Twisted's.

Run from the checkout: C{python benchmarks/framing.py [--mib 16] [--slow]}.  Each
line is the best of three rounds, or of one that takes long; C{--slow} adds what
takes Twisted minutes.
The peer's chunks are handed to C{dataReceived} directly; no socket is involved.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

from twisted.internet.testing import StringTransport
from twisted.protocols.basic import Int32StringReceiver, LineOnlyReceiver, LineReceiver

from taskqueue.frontends.native.framed import FramedReceiver
from taskqueue.frontends.native.lines import JSONLineReceiver

MIB = 1024 * 1024


def counting(base, *args):
    """A receiver that only counts what it is given."""

    class Counting(base):
        count = 0

        def stringReceived(self, string):
            self.count += 1

        def lineReceived(self, line):
            self.count += 1

    receiver = Counting(*args)
    receiver.MAX_LENGTH = 64 * MIB
    receiver.delimiter = b"\n"
    receiver.makeConnection(StringTransport())
    return receiver


def seconds(make: Callable, chunks: list[bytes], expected: int) -> float:
    """The best time that a new receiver takes for the chunks."""
    best = float("inf")
    for _ in range(3):
        receiver = make()
        gc.collect()
        start = time.perf_counter()
        for chunk in chunks:
            receiver.dataReceived(chunk)
        best = min(best, time.perf_counter() - start)
        assert receiver.count == expected, (receiver.count, expected)
        if best > 2:
            break
    return best


def cut(data: bytes, chunk_bytes: int) -> list[bytes]:
    return [data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes)]


def framed(body_bytes: int, count: int) -> bytes:
    return (body_bytes.to_bytes(4, "big") + bytes(body_bytes)) * count


def cases(mib: int):
    """Name, stream, messages in it, chunk size, and who takes minutes for it."""
    size = mib * MIB
    small = size // 104
    one = framed(size, 1)
    yield f"frame of {mib} MiB, one chunk", one, 1, len(one), ()
    yield f"frame of {mib} MiB, 64 KiB chunks", one, 1, 64 * 1024, ()
    yield f"frame of {mib} MiB, single bytes", one, 1, 1, ("Int32StringReceiver",)
    yield "frame of 256 KiB, single bytes", framed(256 * 1024, 1), 1, 1, ()
    many = framed(100, small)
    yield f"{small} frames of 100 B, one chunk", many, small, len(many), ()
    yield f"{small} frames of 100 B, 64 KiB chunks", many, small, 64 * 1024, ()
    lines = b"fifteen letters\n" * (4 * MIB // 16)
    count = 4 * MIB // 16
    yield "4 MiB of 16 B lines, one chunk", lines, count, len(lines), ("LineReceiver",)
    yield "4 MiB of 16 B lines, 64 KiB chunks", lines, count, 64 * 1024, ()
    yield "256 KiB line, single bytes", b"x" * (256 * 1024) + b"\n", 1, 1, ()


def contenders(data: bytes):
    """Name and maker of whoever can read this stream."""
    if not data.endswith(b"\n"):
        yield "ours", lambda: counting(FramedReceiver, 64 * MIB)
        yield "Int32StringReceiver", lambda: counting(Int32StringReceiver)
    else:
        yield "ours", lambda: counting(JSONLineReceiver, 64 * MIB)
        yield "LineReceiver", lambda: counting(LineReceiver)
        yield "LineOnlyReceiver", lambda: counting(LineOnlyReceiver)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--mib", type=int, default=16, help="size of the large frame")
    parser.add_argument("--slow", action="store_true", help="also what takes Twisted minutes")
    options = parser.parse_args()
    print(f"{'stream':44} {'receiver':20} {'seconds':>9} {'MiB/s':>9}")
    for name, data, expected, chunk_bytes, slow in cases(options.mib):
        chunks = cut(data, chunk_bytes)
        for who, make in contenders(data):
            if who in slow and not options.slow:
                print(f"{name:44} {who:20} {'--slow':>9}")
                continue
            took = seconds(make, chunks, expected)
            print(f"{name:44} {who:20} {took:9.4f} {len(data) / MIB / took:9.1f}", flush=True)


if __name__ == "__main__":
    main()
