"""
Procrastinate over PostgreSQL: one by one, and with C{batch_defer}.

It keeps no return values; what is kept of a task is that it succeeded.
"""

from __future__ import annotations

import os

import procrastinate

DATABASE = os.environ["PEER_BROKER"]

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DATABASE))


@app.task(name="noop")
async def noop() -> None:
    """Nothing, on the worker's event loop, which is its fastest way."""


if __name__ == "__main__":
    import psycopg

    from benchmarks.peers.producing import in_chunks, one_by_one, produce

    counting = psycopg.connect(DATABASE, autocommit=True)

    def succeeded() -> int:
        """How many tasks have."""
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        row = counting.execute(query).fetchone()
        assert row is not None
        count: int = row[0]
        return count

    connector = procrastinate.SyncPsycopgConnector(conninfo=DATABASE)
    with app.replace_connector(connector) as opened, opened.open():
        produce(
            succeeded,
            one=one_by_one(noop.defer),
            many=in_chunks(lambda count: noop.batch_defer(*({} for _ in range(count)))),
        )
