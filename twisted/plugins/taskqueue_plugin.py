"""Makes C{twistd taskqueue} and C{twist taskqueue} known."""

from twisted.application.service import ServiceMaker

taskqueue = ServiceMaker(
    "taskqueue",
    "taskqueue.tap",
    "A durable task-queue broker.",
    "taskqueue",
)
