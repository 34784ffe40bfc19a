"""
HTTP: requests as they come, and bodies that are right for HTTP at least.
"""

from __future__ import annotations

from fuzz.place import Place

#: What is sent in whose name: the lower bits of the first byte choose one.
_PATHS = (
    b"POST /api/v1/tasks",
    b"POST /api/v1/tasks/batch",
    b"POST /api/v1/tasks/bulk",
    b"POST /api/v1/dead-letters/retry",
    b"PATCH /api/v1/queues/mail",
    b"POST /api/v1/queues/mail/purge",
    b"PUT /api/v1/periodics/nightly",
    b"POST /api/v1/session",
)

_WHOLE = 0x80


def run(data: bytes) -> None:
    """
    Send C{data}: as a body of JSON where the upper bit of its first byte is set, else as
    a target and whatever follows it.
    """
    if not data:
        return
    rest = data[1:]
    if data[0] & _WHOLE:
        head = _PATHS[data[0] % len(_PATHS)] + (
            b" HTTP/1.1\r\nhost: broker\r\ncontent-type: application/json\r\n"
        )
        request = head + b"content-length: %d\r\n\r\n" % len(rest) + rest
    else:
        request = b"GET /" + rest
    with Place("http") as place:
        answer = place.send(request)
    if b" 500 " in answer.partition(b"\r\n")[0]:
        raise AssertionError(answer.decode("latin-1"))
