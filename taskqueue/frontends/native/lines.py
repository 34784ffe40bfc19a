"""
The native protocol in lines, for people and scripts: bytes to messages and back.
"""

from __future__ import annotations

from twisted.protocols.basic import LineReceiver

from taskqueue.errors import BadFrame
from taskqueue.framing import MAX_FRAME_BYTES, LineDecoder
from taskqueue.frontends.receiving import Receiver

#: How the greeting of TLS begins; no line of JSON does.
_TLS_GREETING = b"\x16\x03"


class JSONLineReceiver(Receiver, LineReceiver):
    r"""
    Receives lines: L{lineReceived} is called with each one, without its end
    (C{\n} or C{\r\n}), and must be implemented.  There is no raw mode.

    @param max_line_bytes: the longest line that is accepted.
    """

    delimiter = b"\n"

    def __init__(self, max_line_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(LineDecoder(max_line_bytes))
        self.MAX_LENGTH = max_line_bytes

    def dataReceived(self, data: bytes) -> None:
        # Whoever speaks TLS waits for an answer, and never ends the line.
        if data.startswith(_TLS_GREETING) and not self.closing:
            self._end()
            self.fatal(BadFrame("there is no TLS here: this endpoint takes lines as they are"))
        else:
            super().dataReceived(data)

    def message_received(self, message: bytes) -> None:
        self.lineReceived(message)

    def lineReceived(self, line: bytes) -> None:
        raise NotImplementedError
