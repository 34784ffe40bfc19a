"""
The hot operations on typed values: from a frame straight to what the service wants,
and from what it says to the answer.

Only what is certainly right is read so; whatever else a request has (a wrong value, an
unknown field, an id in upper case, a batch that is too large) is left to the untyped
operation of the same name, which treats each item and each error with care.  What is
read in types must come to the same there.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskqueue.operations.typed_tasks import prepare_submit
from taskqueue.operations.typed_values import Prepare
from taskqueue.operations.typed_work import prepare_claim, prepare_report
from taskqueue.wire import MessageType

#: By the number of the message.
PREPARE: Mapping[int, tuple[str, Prepare]] = {
    int(kind): (kind.name.lower(), prepare)
    for kind, prepare in (
        (MessageType.SUBMIT_TASK, prepare_submit),
        (MessageType.CLAIM_TASK, prepare_claim),
        (MessageType.TASK_RESULT, prepare_report),
    )
}
