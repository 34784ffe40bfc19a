"""
The protocol of beanstalkd, as its clients speak it: jobs are tasks, tubes are queues.
"""

from __future__ import annotations

from taskqueue.frontends.beanstalkd.door import BeanstalkdDoor

__all__ = ["BeanstalkdDoor"]
