"""The command line of beanstalkd, read as beanstalkd 1.12 reads it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.beanstalkd_line import (
    DEFAULTS,
    LARGEST_JOB_BYTES,
    BadLine,
    BeanstalkdLine,
    split,
)
from taskqueue.config import Config, load


class Reading(SynchronousTestCase):
    def config(self, *arguments: str) -> Config:
        """The whole configuration that a command line makes."""
        return load(overrides=BeanstalkdLine(arguments).settings, defaults=DEFAULTS)

    def test_nothing_said(self) -> None:
        config = self.config()
        self.assertEqual(config.listen.beanstalkd, ("tcp:11300:interface=127.0.0.1",))
        self.assertEqual((config.listen.framed, config.listen.lines, config.http.listen), ((),) * 3)
        self.assertEqual((config.store.kind, config.beanstalkd.max_job_bytes), ("memory", 65535))
        self.assertEqual(config.log.level, "warn")

    def test_what_is_deleted_is_gone_and_what_is_buried_stays(self) -> None:
        kept = self.config().retention
        self.assertEqual((kept.completed_s, kept.cancelled_s, kept.expired_s), (0.0, 0.0, 0.0))
        self.assertIsNone(kept.dead_letter_s)

    def test_where(self) -> None:
        for arguments, endpoint in (
            (("-p", "7"), "tcp:7:interface=127.0.0.1"),
            (("-p007",), "tcp:7:interface=127.0.0.1"),
            (("-l0.0.0.0", "-p", "0"), "tcp:0:interface=0.0.0.0"),
            (("-l", "localhost"), "tcp:11300:interface=localhost"),
            (("-l", "::1"), r"tcp:11300:interface=\:\:1"),
            (("-l", "unix:/run/a b,c.sock", "-p", "7"), "unix:/run/a b,c.sock"),
            (("-l", "unix:/run/a:b=c"), r"unix:/run/a\:b\=c"),
        ):
            self.assertEqual(self.config(*arguments).listen.beanstalkd, (endpoint,), arguments)

    def test_where_systemd_says(self) -> None:
        line = BeanstalkdLine(["-p", "7"])
        settings = {**line.settings, **line.listening("systemd:domain=INET:index=0")}
        config = load(overrides=settings, defaults=DEFAULTS)
        self.assertEqual(config.listen.beanstalkd, ("systemd:domain=INET:index=0",))
        self.assertTrue(config.beanstalkd.open_to_network)

    def test_keeping(self) -> None:
        for arguments, durability, sync_ms in (
            (("-b", "/d"), "interval", 50),
            (("-b/d", "-f", "0"), "fsync", 100),
            (("-f0", "-b/d"), "fsync", 100),
            (("-b", "/d", "-f200"), "interval", 200),
            (("-b", "/d", "-f", "100000"), "interval", 60000),
            (("-b", "/d", "-F"), "none", 100),
            (("-Fb", "/d", "-f7"), "interval", 7),
            (("-Fb/d",), "none", 100),
        ):
            store = self.config(*arguments).store
            found = store.kind, store.path, store.durability, store.sync_interval_ms
            self.assertEqual(found, ("sqlite", "/d", durability, sync_ms), arguments)

    def test_in_memory_there_is_nothing_to_sync(self) -> None:
        self.assertEqual(self.config("-f", "7").store, self.config("-F").store)

    def test_sizes(self) -> None:
        for text, size in (("1", 1), ("0", 1), ("100000", 100_000), ("20000000", 20_000_000)):
            config = self.config("-z", text)
            self.assertEqual(config.beanstalkd.max_job_bytes, size)
            self.assertGreaterEqual(config.limits.max_payload_bytes, size)

    def test_the_largest_size(self) -> None:
        """A larger one is not refused: it becomes this one, and that is told."""
        line = BeanstalkdLine(["-z", "99999999999"])
        self.assertEqual(line.warnings, [f"maximum job size was set to {LARGEST_JOB_BYTES}"])
        config = load(overrides=line.settings, defaults=DEFAULTS)
        self.assertEqual(config.beanstalkd.max_job_bytes, LARGEST_JOB_BYTES)
        self.assertEqual(BeanstalkdLine(["-z", str(LARGEST_JOB_BYTES)]).warnings, [])

    def test_verbosity(self) -> None:
        for arguments, level in (("-V", "info"), ("-VV", "debug"), ("-VVV", "debug")):
            self.assertEqual(self.config(arguments).log.level, level)

    def test_user(self) -> None:
        self.assertEqual(BeanstalkdLine(["-unobody"]).user, "nobody")
        self.assertIsNone(BeanstalkdLine([]).user)

    def test_printed_and_nothing_else(self) -> None:
        """What comes after it is not looked at."""
        for letter, wanted in (("v", "version"), ("h", "help")):
            self.assertEqual(BeanstalkdLine([f"-V{letter}", "-x"]).wanted, wanted)
        self.assertEqual(BeanstalkdLine(["-V"]).wanted, "")

    def test_accepted_without_effect(self) -> None:
        self.assertEqual(self.config("-s", "10"), self.config())
        line = BeanstalkdLine(["-cn"])
        self.assertEqual(
            line.warnings,
            [f"-{one} flag was removed. binlog is always compacted." for one in "cn"],
        )

    def test_what_it_complains_of(self) -> None:
        for arguments, text in (
            (("-x",), "unknown flag: -x"),
            (("-Vx",), "unknown flag: -x"),
            (("-p",), "flag requires an argument: -p"),
            (("-Vb",), "flag requires an argument: -b"),
            (("foo",), "unknown argument: foo"),
            (("-",), "unknown argument: -"),
            (("-V", "1"), "unknown argument: 1"),
            (("-f", "abc"), "invalid size: abc"),
            (("-z", "1k"), "invalid size: 1k"),
            (("-s-1",), "invalid size: -1"),
            (("-p", "http"), "invalid port: http"),
            (("-p", "65536"), "invalid port: 65536"),
            (("-l", ""), "invalid address: ''"),
            (("-l", "unix:"), "invalid address: 'unix:'"),
            (("-l", 'a"b'), "invalid address: 'a\"b'"),
        ):
            error = self.assertRaises(BadLine, BeanstalkdLine, arguments)
            self.assertEqual(str(error), text)


class Splitting(SynchronousTestCase):
    """Our long options may stand among those of beanstalkd."""

    def test_each_to_its_own(self) -> None:
        for line, ours, theirs in (
            ("-p 1 --http tcp:1 -V", "--http tcp:1", "-p 1 -V"),
            ("--http=tcp:1 -Vb --dir foo", "--http=tcp:1", "-Vb --dir foo"),
            ("--check-config -f --set x", "--check-config", "-f --set x"),
            ("--http", "--http", ""),
            ("foo --beanstalkd -b/d -x", "--beanstalkd", "foo -b/d -x"),
        ):
            found = split(line.split(), ["http", "set"])
            self.assertEqual(found, (ours.split(), theirs.split()))


class Layers(SynchronousTestCase):
    def test_what_somebody_says_goes_before_these_defaults(self) -> None:
        environ = {"TASKQUEUE_RETENTION_COMPLETED_S": "5"}
        config = load(
            None, environ, {"log.level": "error", **BeanstalkdLine([]).settings}, DEFAULTS
        )
        self.assertEqual((config.retention.completed_s, config.log.level), (5.0, "error"))
        self.assertEqual(config.retention.cancelled_s, 0.0)
