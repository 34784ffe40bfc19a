"""
Record what beanstalkd itself answers: run this where it is installed, after scenes have changed.

C{python -m tests.foreign.beanstalkd_record [FILE]}
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from tests.foreign.beanstalkd_player import Exchange, Player, as_record
from tests.foreign.beanstalkd_scenes import SCENES
from tests.process.children import until

FILE = Path(__file__).with_name("beanstalkd_record.json")


def recorded(file: Path = FILE) -> list[Exchange]:
    """What was recorded."""
    found = json.loads(file.read_text(encoding="ascii"))
    return [Exchange(**{"took_s": None, **each}) for each in found["exchanges"]]


def played(port: int) -> list[Exchange]:
    """All scenes, with the server at a port."""
    player = Player(port)
    for name, scene in SCENES.items():
        player.play(name, scene)
    return player.exchanges


def listens(port: int) -> bool:
    """Whether one can connect to a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Start a beanstalkd, play, and write what it has answered."""
    version = subprocess.run(["beanstalkd", "-v"], capture_output=True, text=True, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(["beanstalkd", "-l", "127.0.0.1", "-p", str(port)])
    try:
        until("beanstalkd listens", lambda: listens(port))
        exchanges = played(port)
    finally:
        server.kill()
        server.wait()
    record = {
        "server": version.stdout.strip(),
        "exchanges": [as_record(each) for each in exchanges],
    }
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
