"""
The native protocol in frames: bytes to messages and back.
"""

from __future__ import annotations

from twisted.protocols.basic import Int32StringReceiver

from taskqueue.framing import MAX_FRAME_BYTES, FrameDecoder
from taskqueue.frontends.receiving import Receiver


class FramedReceiver(Receiver, Int32StringReceiver):
    """
    Receives frames: L{stringReceived} is called with each one, without its
    length, and must be implemented.

    @param max_frame_bytes: the longest frame that is accepted.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(FrameDecoder(max_frame_bytes))
        self.MAX_LENGTH = max_frame_bytes

    def message_received(self, message: bytes) -> None:
        self.stringReceived(message)

    def stringReceived(self, string: bytes) -> None:
        raise NotImplementedError
