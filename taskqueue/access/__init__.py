"""
Who comes in, and what they may do.

A broker has one L{Gate}, which every door asks.  C{docs/security.md} says what it promises.
"""

from taskqueue.access.audit import AuditLog
from taskqueue.access.gate import Gate
from taskqueue.access.identities import Identity
from taskqueue.access.keyring import Keyring
from taskqueue.access.permissions import Action, Permissions
from taskqueue.access.throttle import TokenBuckets

__all__ = [
    "Action",
    "AuditLog",
    "Gate",
    "Identity",
    "Keyring",
    "Permissions",
    "TokenBuckets",
]
