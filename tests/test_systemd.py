"""What systemd is told, over a real datagram socket; what its units and the Containerfile say."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from configparser import ConfigParser
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taskqueue.systemd import Notifier, handed_over, socket_address, watchdog_seconds
from tests.process.children import ProcessTestCase, until

ETC = Path(__file__).resolve().parent.parent / "etc"


class Listener:
    """systemd's side."""

    def __init__(self, test: SynchronousTestCase, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        test.addCleanup(self._socket.close)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Everything since the last time."""
        found = []
        try:
            while True:
                found.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return found


class HandedOverTests(SynchronousTestCase):
    """Sockets that systemd hands over, as endpoint strings."""

    def found(self, family: int, **environ: str) -> str | None:
        with socket.socket(family) as given:
            known = {
                "LISTEN_FDNAMES": "a",
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": "1",
                **environ,
            }
            return handed_over(known, given.fileno())

    def test_each_family(self) -> None:
        for family, domain in (
            (socket.AF_INET, "INET"),
            (socket.AF_INET6, "INET6"),
            (socket.AF_UNIX, "UNIX"),
        ):
            self.assertEqual(self.found(family), f"systemd:domain={domain}:index=0")

    def test_none(self) -> None:
        for environ in ({"LISTEN_PID": "1"}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "x"}):
            self.assertIsNone(self.found(socket.AF_INET, **environ))
        self.assertIsNone(handed_over({}))

    def test_no_socket(self) -> None:
        environ = {"LISTEN_FDNAMES": "a", "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        with open(os.devnull) as file:
            self.assertIsNone(handed_over(environ, file.fileno()))


class NotifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="taskqueue-notify-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "notify")
        self.clock = Clock()

    def notifier(self, **environ: str) -> Notifier:
        return Notifier({"NOTIFY_SOCKET": self.path, **environ}, self.clock)

    def test_a_life(self) -> None:
        systemd = Listener(self, self.path)
        notifier = self.notifier(WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
        notifier.startService()
        self.assertEqual(systemd.heard(), ["READY=1\nSTATUS=listening", "WATCHDOG=1"])
        self.clock.advance(4.9)
        self.assertEqual(systemd.heard(), [])
        self.clock.advance(0.1)
        self.assertEqual(systemd.heard(), ["WATCHDOG=1"])
        notifier.stopService()
        self.assertEqual(systemd.heard(), ["STOPPING=1"])
        self.clock.advance(60)
        self.assertEqual(systemd.heard(), [])

    def test_without_a_watchdog(self) -> None:
        systemd = Listener(self, self.path)
        notifier = self.notifier()
        notifier.startService()
        self.assertEqual(systemd.heard(), ["READY=1\nSTATUS=listening"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notifier.stopService()

    def test_in_the_abstract_namespace(self) -> None:
        name = f"taskqueue-test-{os.getpid()}"
        systemd = Listener(self, f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, self.clock).startService()
        self.assertEqual(len(systemd.heard()), 1)

    def test_without_systemd(self) -> None:
        notifier = Notifier({"WATCHDOG_USEC": "1000000"}, self.clock)
        notifier.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notifier.stopService()

    def test_nobody_hears_it(self) -> None:
        notifier = self.notifier(WATCHDOG_USEC="1000000")
        notifier.startService()
        self.clock.advance(5)
        notifier.stopService()

    def test_addresses(self) -> None:
        for text, address in (("/run/a", "/run/a"), ("@a", "\0a"), ("", ""), ("vsock:2:1", "")):
            self.assertEqual(socket_address(text), address)

    def test_whose_watchdog_it_is(self) -> None:
        for environ, seconds in (
            ({"WATCHDOG_USEC": "2500000"}, 2.5),
            ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, 0.0),
            ({"WATCHDOG_USEC": "soon"}, 0.0),
            ({}, 0.0),
        ):
            self.assertEqual(watchdog_seconds(environ), seconds)


class ProcessTests(ProcessTestCase):
    def test_a_broker_says_when_it_listens_and_when_it_stops(self) -> None:
        systemd = Listener(self, address := str(self.folder / "notify"))
        more = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
        self.patch(os, "environ", {**os.environ, **more})
        broker = self.start("--set", "store.kind=memory")
        heard: list[str] = []

        def hears(words: str) -> None:
            def look() -> bool:
                heard.extend(systemd.heard())
                return any(words in each for each in heard)

            until(f"{words} is said", look)

        hears("READY=1")
        broker.port()
        hears("WATCHDOG=1")
        self.assertEqual(broker.end(), 0)
        hears("STOPPING=1")
        self.assertEqual(heard[-1], "STOPPING=1")


class UnitTests(SynchronousTestCase):
    """The units in C{etc}."""

    def unit(self, name: str) -> ConfigParser:
        parser = ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(ETC / name)
        return parser

    def test_it_is_hardened(self) -> None:
        service = self.unit("taskqueue.service")["Service"]
        for key, value in (
            ("Type", "notify"),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("StateDirectory", "taskqueue"),
            ("CapabilityBoundingSet", ""),
            ("RestrictNamespaces", "yes"),
        ):
            self.assertEqual(service[key], value)
        self.assertNotEqual(service["User"], "root")

    def test_the_sockets_have_the_names_that_the_service_takes(self) -> None:
        command = self.unit("taskqueue.service")["Service"]["ExecStart"]
        self.assertIn("taskqueue --config /etc/taskqueue.conf", command)
        socket_unit = self.unit("taskqueue-framed.socket")["Socket"]
        self.assertEqual(socket_unit["FileDescriptorName"], "framed")
        self.assertEqual(socket_unit["Service"], "taskqueue.service")

    def analyze(self, *arguments: str) -> str:
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd-analyze is not here")
        done = subprocess.run(
            [program, *arguments], capture_output=True, check=False, text=True, timeout=60
        )
        return done.stdout + done.stderr

    def copies(self) -> Path:
        """The units, with commands that are on this machine."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for unit in (*ETC.glob("*.service"), *ETC.glob("*.socket")):
            text = "\n".join(
                "ExecStart=/bin/true" if line.startswith("ExecStart=") else line
                for line in unit.read_text().splitlines()
            )
            (folder / unit.name).write_text(f"{text}\n")
        return folder

    def test_systemd_understands_them(self) -> None:
        units = sorted(self.copies().iterdir())
        self.assertTrue(units)
        told = self.analyze("verify", *map(str, units))
        ours = [line for line in told.splitlines() if "taskqueue" in line]
        self.assertEqual(ours, [], told)

    def test_systemd_finds_it_safe(self) -> None:
        unit = str(self.copies() / "taskqueue.service")
        told = self.analyze("security", "--offline=true", "--threshold=20", unit)
        if "Overall exposure" not in told:
            raise SkipTest(f"systemd-analyze cannot judge here: {told[-200:]}")
        self.assertIn("OK", told.splitlines()[-1], told)


class ContainerTests(SynchronousTestCase):
    """The Containerfile, as far as it can be judged where no container engine runs."""

    def setUp(self) -> None:
        text = (ETC.parent / "Containerfile").read_text()
        joined = text.replace("\\\n", " ")
        self.orders = [
            tuple(line.split(None, 1))
            for line in joined.splitlines()
            if line.strip() and not line.startswith("#")
        ]
        begin = max(i for i, (word, _) in enumerate(self.orders) if word == "FROM")
        self.final = self.orders[begin:]

    def test_every_word_is_one(self) -> None:
        words = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE"}
        words |= {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
        self.assertEqual({word for word, _ in self.orders} - words, set())

    def test_it_does_not_run_as_root(self) -> None:
        said = dict(self.final)
        self.assertEqual(said["USER"], "7780:7780")
        after = [word for word, _ in self.final[[w for w, _ in self.final].index("USER") :]]
        self.assertNotIn("RUN", after)

    def test_it_writes_in_its_volume_only(self) -> None:
        said = dict(self.final)
        self.assertEqual(said["VOLUME"], "/var/lib/taskqueue")
        self.assertEqual(said["WORKDIR"], "/var/lib/taskqueue")
        self.assertIn('"--pidfile="', said["ENTRYPOINT"])
        self.assertIn('"/var/lib/taskqueue"', said["CMD"])
        self.assertIn("PYTHONDONTWRITEBYTECODE=1", said["ENV"])

    def test_packages_are_checked_by_hash(self) -> None:
        installs = [text for word, text in self.orders if word == "RUN" and "pip install" in text]
        self.assertTrue(installs)
        for text in installs:
            self.assertIn("--require-hashes", text)
            self.assertIn("requirements/deploy.txt", text)
