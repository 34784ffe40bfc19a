"""
The protocol of Faktory's work server, version 2, for its clients and workers in any language.

What they say is carried out on the same tasks, queues and workers as everything else; what is
different from Faktory's own server says docs/faktory.md.
"""

from taskqueue.frontends.faktory.door import FaktoryDoor

__all__ = ["FaktoryDoor"]
