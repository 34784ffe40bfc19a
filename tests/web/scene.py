"""
A broker with something of everything that there are metrics of.
"""

from __future__ import annotations

from taskqueue.config import ListenConfig
from taskqueue.core.intake import Submission
from taskqueue.core.periodic import Periodic
from taskqueue.core.workers import Registration
from taskqueue.frontends.doorways import Doorways
from tests.web.visitor import Place


def full_scene() -> Place:
    """Every family of the broker's metrics has a sample here."""
    place = Place().started()
    place.submit(Submission("mail"), Submission("sms", queue="other", priority=255))
    place.service.put_periodics([Periodic("tick", "mail", every_s=10.0)])
    place.service.register(Registration("w", 1, types=frozenset({"mail"})))
    place.claim()
    place.service.trigger_periodic("tick")
    place.service.auditor.audit()
    traffic = place.service.traffic
    for counts in (traffic.open, traffic.accepted):
        counts.update(("framed", "lines", "http"))
    traffic.refused["TOO_MANY_CONNECTIONS"] += 1
    traffic.requests["submit_task"] += 1
    traffic.nacks.update(("QUEUE_FULL", "VALUES_FULL"))
    doorways = Doorways(place.service)
    doorways.setServiceParent(place.service)
    doorways.make("tls:port=7780", ListenConfig())
    place.turns(10)
    return place
