"""
A broker with two queues, of which a test's key may touch one.
"""

from dataclasses import replace

from taskqueue.wire import MessageType
from tests.operations.keys import Keys
from tests.operations.world import World

#: The queue that keys of tests may touch, and the other one.
OWN, OTHER = "own", "other"

#: An id that no task has.
UNKNOWN = "019b74ff-0000-7000-8000-ffffffffffff"

#: Everything that can be allowed in one queue.
ALL_OWN = ("submit:own", "claim:own", "read:own", "cancel:own")


def task_id(queue, number):
    """The id of a task of one of the queues."""
    return f"019b74ff-0000-7000-8000-{'1' if queue == OWN else '2'}{number:011d}"


class TwoRooms(World):
    """
    Each queue has the same: tasks 1 and 2 that wait, 3 in progress, 4 completed, 5 dead, 6 that
    waits for 1, and 7 with the unique key C{key-<queue>}; worker C{<queue>-worker}, which holds
    3; periodic task C{<queue>-daily}.

    @ivar keys: those that may do everything (C{admin}), and what tests add.
    @ivar admin: a peer that may do everything.
    @ivar leases: of task 3 of each queue.
    """

    def __init__(self, **sections):
        super().__init__(**sections)
        self.keys = Keys(self.service.gate, admin=["admin"])
        self.admin = self.enter("admin")
        self.leases = {}
        for queue in (OWN, OTHER):
            self._furnish(queue)

    def enter(self, name, language="framed"):
        """A peer that has said HELLO with this key."""
        peer = self.meet(language)
        kind, answer = peer.ask(MessageType.HELLO, key=self.keys[name])
        assert kind is MessageType.ACK, answer
        return peer

    def forget_ended(self):
        """From now on, ended tasks are in the store only."""
        self.settle()
        ledger = self.ledger
        policy, ledger.policy = ledger.policy, replace(ledger.policy, recent_ended=0)
        ledger.prune_ended()
        ledger.policy = policy
        assert not ledger.ended

    def _furnish(self, queue):
        kinds, ask = MessageType, self.admin.ask
        worker = self.enter("admin")
        worker.ask(
            kinds.REGISTER_WORKER,
            worker=f"{queue}-worker",
            incarnation=1,
            queues=[queue],
            types=["t"],
        )
        tasks = [
            {"type": "t", "id": task_id(queue, n), "payload": f"payload of {queue}".encode()}
            for n in (3, 4, 5)
        ]
        ask(kinds.SUBMIT_TASK, tasks=tasks, common={"queue": queue, "headers": {"a": queue}})
        _, claimed = worker.ask(kinds.CLAIM_TASK, limit=3, wait_s=0)
        tokens = {task["id"]: task["lease"] for task in claimed["tasks"]}
        assert len(tokens) == 3, claimed
        self.leases[queue] = tokens[task_id(queue, 3)]
        results = [
            {"task": task_id(queue, 4), "status": "completed", "result": f"of {queue}".encode()},
            {"task": task_id(queue, 5), "status": "failed", "error": queue, "permanent": True},
        ]
        for result in results:
            result["lease"] = tokens[result["task"]]
        worker.ask(kinds.TASK_RESULT, results=results)
        more = [{"type": "t", "id": task_id(queue, n)} for n in (1, 2)]
        more.append({"type": "t", "id": task_id(queue, 6), "depends_on": [task_id(queue, 1)]})
        more.append({"type": "t", "id": task_id(queue, 7), "unique": f"key-{queue}"})
        ask(kinds.SUBMIT_TASK, tasks=more, common={"queue": queue})
        daily = {"name": f"{queue}-daily", "type": "t", "queue": queue, "cron": "0 3 * * *"}
        ask(kinds.PUT_PERIODIC, periodics=[daily])
        self.settle()


def requests_about(queue, leases):
    """
    A request of each kind that is about one of the queues, whose answer is an ACK where it is
    allowed.

    @param leases: of task 3 of each queue.
    """
    kinds, one = MessageType, task_id(queue, 1)
    lease = {"task": task_id(queue, 3), "lease": leases[queue]}
    return {
        kinds.PING: {},
        kinds.SUBMIT_TASK: {"tasks": [{"type": "t", "queue": queue}]},
        kinds.CLAIM_TASK: {"queues": [queue], "wait_s": 0},
        kinds.EXTEND_LEASE: {"leases": [lease]},
        kinds.REPORT_PROGRESS: {"reports": [{**lease, "progress": 1}]},
        kinds.TASK_RESULT: {"results": [{**lease, "status": "completed"}]},
        kinds.RELEASE_TASK: {"leases": [lease]},
        kinds.BURY_TASK: {"leases": [lease]},
        kinds.REGISTER_WORKER: {"worker": "w", "incarnation": 1, "queues": [queue]},
        kinds.HEARTBEAT: {"worker": "w", "incarnation": 1, "queues": [queue]},
        kinds.DEREGISTER_WORKER: {"worker": "w"},
        kinds.QUERY_STATUS: {"tasks": [one], "history": True, "result": True},
        kinds.WATCH: {"tasks": [one], "queues": [queue]},
        kinds.UNWATCH: {"tasks": [one]},
        kinds.GET_PAYLOAD: {"task": one},
        kinds.LIST_TASKS: {"queue": queue},
        kinds.LIST_QUEUES: {},
        kinds.LIST_WORKERS: {},
        kinds.LIST_PERIODIC: {},
        kinds.GET_STATS: {},
        kinds.RETRY_TASK: {"tasks": [task_id(queue, 5)]},
        kinds.RUN_NOW: {"tasks": [task_id(queue, 5)]},
        kinds.CANCEL_TASK: {"tasks": [one]},
        kinds.DELETE_TASK: {"tasks": [task_id(queue, 4)]},
        kinds.PAUSE_QUEUE: {"queue": queue},
        kinds.RESUME_QUEUE: {"queue": queue},
        kinds.SET_QUEUE: {"queue": queue, "max_depth": 1000},
        kinds.PUT_PERIODIC: {
            "periodics": [{"name": "p", "type": "t", "queue": queue, "every_s": 60}]
        },
        kinds.PAUSE_PERIODIC: {"name": f"{queue}-daily", "paused": False},
        kinds.TRIGGER_PERIODIC: {"name": f"{queue}-daily"},
        kinds.DELETE_PERIODIC: {"name": f"{queue}-daily"},
        kinds.RETRY_QUEUE: {"queue": queue},
        kinds.PURGE_QUEUE: {"queue": queue},
        kinds.ORDER_WORKER: {"worker": f"{queue}-worker", "order": "quiet"},
        kinds.AUDIT: {},
        kinds.PUT_VALUES: {"values": [{"namespace": queue, "key": "k", "value": b"1"}]},
        kinds.GET_VALUES: {"namespace": queue, "keys": ["k"]},
        kinds.INCREASE_VALUE: {"namespace": queue, "key": "k"},
        kinds.LIST_VALUES: {"namespace": queue},
        kinds.WAIT_VALUES: {"namespace": queue, "known": {"k": 0}, "wait_s": 0},
        kinds.TAKE_VALUE: {"namespace": queue, "key": "k"},
        kinds.DELETE_VALUES: {"namespace": queue, "keys": ["k"]},
        kinds.LIST_NAMESPACES: {},
    }
