"""
Dead letters: looking, grouping by error, reviving, deleting.
"""

from __future__ import annotations

from collections import Counter

from taskqueue.core.changes import TaskRow
from taskqueue.core.task import State
from taskqueue.operations.fields import Form, any_queue, name_text, text
from taskqueue.operations.visibility import narrowed
from taskqueue.service.searching import search
from taskqueue.store.interface import Filter, Page
from taskqueue.web.api import bulk
from taskqueue.web.api.answers import Header, Reply, page_of
from taskqueue.web.api.endpoints import Content, Endpoint
from taskqueue.web.api.grouping import LONGEST_GROUP, group_of
from taskqueue.web.api.tasks import SEARCH, found
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

#: How many dead letters are looked at for groups, and how many at a time.
MOST_EXAMINED = 10_000
PAGE = 500

#: How many groups are told of: the largest.
MOST_GROUPS = 200

_DEAD = State.DEAD_LETTER

#: How many pages are looked through for dead letters of one group, before the answer is
#: that there may be more.
MOST_PAGES = 20

DEAD = Form(
    {
        **{name: check for name, check in SEARCH.fields.items() if name != "state"},
        "error_group": text(LONGEST_GROUP),
    }
)


async def list_dead_letters(visit: Visit) -> Reply:
    """List dead letters, a page at a time."""
    query = {**visit.query, "state": (_DEAD.word,)}
    group = query.pop("error_group", None)
    return await (found(visit, query) if group is None else _of_group(visit, query, group))


async def _of_group(visit: Visit, query: Header, group: str) -> Reply:
    """Those whose errors are of one group; what an error is like only its text tells."""
    limit, after = query.get("limit", 100), query.get("after")
    kept: list[Header] = []
    for _ in range(MOST_PAGES):
        page = await found(visit, {**query, "limit": limit - len(kept), "after": after})
        kept += [task for task in page.content["tasks"] if group_of(task.get("error")) == group]
        after = page.content["next"]
        if after is None or len(kept) == limit or not visit.open:
            break
    return page_of("tasks", kept, after, visit.next_page(after))


class _Group:
    """Dead letters whose errors are alike; the newest was found first."""

    def __init__(self, row: TaskRow) -> None:
        self.sample = row.id
        self.count = 0
        self.types: Counter[str] = Counter()
        self.queues: Counter[str] = Counter()
        self.first_at = self.last_at = row.ended_at or 0.0

    def add(self, row: TaskRow) -> None:
        ended_at = row.ended_at or 0.0
        self.count += 1
        self.types[row.type] += 1
        self.queues[row.queue] += 1
        self.first_at = min(self.first_at, ended_at)
        self.last_at = max(self.last_at, ended_at)

    def view(self, name: str) -> Header:
        return {
            "error_group": name,
            "count": self.count,
            "types": dict(self.types),
            "queues": dict(self.queues),
            "first_at": self.first_at,
            "last_at": self.last_at,
            "sample": self.sample,
        }


async def group_dead_letters(visit: Visit) -> Reply:
    """Group the newest dead letters by error."""
    groups: dict[str, _Group] = {}
    visit.admit(MessageType.LIST_TASKS)
    wanted = narrowed(visit.visitor, Filter(states=[_DEAD], **visit.query))
    examined, after, complete = 0, None, False
    while examined < MOST_EXAMINED and not complete and visit.open:
        rows, after = await search(visit.service, wanted, Page(PAGE, after))
        for row in rows:
            groups.setdefault(group_of(row.error), _Group(row)).add(row)
        examined += len(rows)
        complete = after is None
    views = [group.view(name) for name, group in groups.items()]
    views.sort(key=lambda view: (-view["count"], -view["last_at"]))
    complete = complete and len(views) <= MOST_GROUPS
    return Reply(200, {"groups": views[:MOST_GROUPS], "examined": examined, "complete": complete})


async def retry_dead_letters(visit: Visit) -> Reply:
    """Let all dead letters that match run again."""
    return await bulk.act(visit, {**visit.body, "action": "retry"})


async def delete_dead_letters(visit: Visit) -> Reply:
    """Forget all dead letters that match."""
    return await bulk.act(visit, {**visit.body, "action": "delete"}, only=(_DEAD,))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/dead-letters",
        "Dead letters",
        list_dead_letters,
        "List dead letters",
        {200: Content("A page of them.", "TaskPage", headers={"Link": "the next page"})},
        query=DEAD,
        refusals=(413,),
    ),
    Endpoint(
        "GET",
        "/dead-letters/groups",
        "Dead letters",
        group_dead_letters,
        "Group dead letters by error",
        {200: Content("The groups, the largest first.", "DeadLetterGroups")},
        query=Form({"queue": any_queue, "type": name_text}),
    ),
    Endpoint(
        "POST",
        "/dead-letters/retry",
        "Dead letters",
        retry_dead_letters,
        "Let dead letters run again",
        bulk.RESULT,
        body=bulk.body_of(bulk.RETRY),
        refusals=(413,),
    ),
    Endpoint(
        "POST",
        "/dead-letters/delete",
        "Dead letters",
        delete_dead_letters,
        "Forget dead letters",
        bulk.RESULT,
        body=bulk.body_of(bulk.DELETE),
        refusals=(413,),
    ),
)
