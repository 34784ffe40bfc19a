"""
All that there is under the API's root.
"""

from __future__ import annotations

from taskqueue.service import TaskQueueService
from taskqueue.web.api import (
    broker,
    bulk,
    dead_letters,
    events,
    openapi,
    periodics,
    queues,
    session,
    stats,
    submitting,
    tasks,
    values,
    workers,
)
from taskqueue.web.api.endpoints import Endpoint
from taskqueue.web.api.resource import ApiResource

#: The endpoints, by chapter.
ENDPOINTS: tuple[Endpoint, ...] = (
    *submitting.ENDPOINTS,
    *tasks.ENDPOINTS,
    *bulk.ENDPOINTS,
    *dead_letters.ENDPOINTS,
    *queues.ENDPOINTS,
    *workers.ENDPOINTS,
    *periodics.ENDPOINTS,
    *values.ENDPOINTS,
    *stats.ENDPOINTS,
    *broker.ENDPOINTS,
    *events.ENDPOINTS,
    *session.ENDPOINTS,
)


def make_api(service: TaskQueueService) -> ApiResource:
    """The API of a broker, as a resource."""
    document = openapi.document_endpoint(ENDPOINTS)
    return ApiResource(service, (*ENDPOINTS, document, *openapi.PAGES))
