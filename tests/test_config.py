"""Reading the configuration, writing it, and comparing two of it."""

from __future__ import annotations

import os
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import (
    BrokerConfig,
    Config,
    HttpConfig,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    QueueConfig,
    RetentionConfig,
    StoreConfig,
    WorkersConfig,
    applicable,
    as_text,
    differences,
    load,
)
from taskqueue.config.doors import read_password
from taskqueue.config.sections import SECTIONS
from taskqueue.config.spec import QUEUES, Spec
from taskqueue.errors import ConfigError

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "etc" / "taskqueue.conf"
REFERENCE = ROOT / "docs" / "configuration.md"


class ConfigCase(SynchronousTestCase):
    """Writes configuration files and reads them."""

    def write(self, content: str | bytes) -> str:
        self.path = self.mktemp()
        encoded = content if isinstance(content, bytes) else content.encode()
        Path(self.path).write_bytes(encoded)
        return self.path

    def read(self, content: str | bytes = "", environ: Any = None, **overrides: str) -> Config:
        named = {name.replace("__", "."): text for name, text in overrides.items()}
        return load(self.write(content), environ or {}, named)

    def problems(self, content: str | bytes = "", environ: Any = None, **kw: str) -> list[str]:
        """What is wrong, with the file's path left out."""
        error = self.assertRaises(ConfigError, self.read, content, environ, **kw)
        return [problem.replace(self.path, "FILE") for problem in error.problems]


class Defaults(ConfigCase):
    """The defaults, the configspec, the sample and the reference are one."""

    def test_nothing_given(self) -> None:
        self.assertEqual(load(), Config())
        self.assertEqual(load(None, {}, {}), Config())

    def test_the_spec_has_the_keys_of_the_classes(self) -> None:
        spec = Spec()
        self.assertEqual(set(spec.sections), {*SECTIONS, QUEUES})
        self.assertEqual([field.name for field in fields(Config)], spec.sections)
        for section, cls in {**SECTIONS, QUEUES: QueueConfig}.items():
            self.assertEqual(spec.keys(section), [field.name for field in fields(cls)])

    def test_every_default_is_allowed(self) -> None:
        path = self.write(as_text(Config(queues={"q": QueueConfig()})))
        self.assertEqual(load(path), Config(queues={"q": QueueConfig()}))

    def test_the_sample_is_the_defaults(self) -> None:
        self.assertEqual(load(str(SAMPLE)), Config())

    def test_the_sample_has_every_key_with_what_is_allowed(self) -> None:
        self.assert_complete(SAMPLE.read_text(), r"^\[{section}\]$", r"^{mark}{key} = ")

    def test_the_queue_of_the_sample_can_be_taken_into_use(self) -> None:
        text = re.sub(
            rf"(?m)^# (\[\[emails|({'|'.join(Spec().keys(QUEUES))}) = )",
            r"\1",
            SAMPLE.read_text(),
        )
        queue = self.read(text).queues["emails"]
        self.assertTrue(all(getattr(queue, key) is not None for key in Spec().keys(QUEUES)))

    def test_the_reference_has_every_key_with_what_is_allowed(self) -> None:
        text = REFERENCE.read_text()
        self.assert_complete(text, r"^### `\[{section}\]`$", r"^\| `{key}` \| ")

    def assert_complete(self, text: str, head: str, line: str) -> None:
        """Every key stands in its section's part, near what it may be."""
        spec = Spec()
        heads = [re.search(head.format(section=s), text, re.MULTILINE) for s in spec.sections]
        begins = [found.start() for found in heads if found is not None]
        self.assertEqual(len(begins), len(spec.sections), "a section is missing")
        self.assertEqual(begins, sorted(begins))
        for section, begin, end in zip(spec.sections, begins, [*begins[1:], None], strict=True):
            part = text[begin:end]
            for key in spec.keys(section):
                pattern = line.format(key=key, mark="# " if section == QUEUES else "")
                self.assertRegex(part, re.compile(pattern, re.MULTILINE), f"{section}.{key}")
                unwrapped = part.replace("\n# ", " ")
                self.assertIn(spec.allowed(section, key), unwrapped, f"{section}.{key}")

    def test_the_reference_has_every_default(self) -> None:
        lines = REFERENCE.read_text().splitlines()
        default = dict(
            line.split(" = ", 1) for line in as_text(Config()).splitlines() if " = " in line
        )
        for section in SECTIONS:
            for key in Spec().keys(section):
                if default[key] != ",":
                    self.assertTrue(
                        any(line.startswith(f"| `{key}` | `{default[key]}` |") for line in lines),
                        f"{section}.{key}",
                    )

    def test_frozen(self) -> None:
        with self.assertRaises(AttributeError):
            Config().broker.name = "other"  # type: ignore[misc]


class Values(ConfigCase):
    """What values may look like."""

    def test_numbers_and_words(self) -> None:
        config = self.read(
            "[broker]\nlease_s = 12\nmax_retries = 0\nname = 'b:1/x'\n"
            "[store]\nKIND=memory\n".replace("KIND", "kind")
            + "durability = NONE\n"
        )
        self.assertEqual(config.broker.lease_s, 12.0)
        self.assertIsInstance(config.broker.lease_s, float)
        self.assertEqual(config.broker.max_retries, 0)
        self.assertEqual(config.broker.name, "b:1/x")
        self.assertEqual((config.store.kind, config.store.durability), ("memory", "none"))

    def test_sizes(self) -> None:
        for text, size in (
            ("2097152", 2**21),
            ("2 MiB", 2**21),
            ("2mib", 2**21),
            ("3GiB", 3 * 2**30),
            ("2048 KiB", 2**21),
            ("1 TiB", 2**40),
        ):
            config = self.read(
                f"[limits]\nmax_payload_bytes=1\n[broker]\nmax_held_bytes = {text}\n"
            )
            self.assertEqual(config.broker.max_held_bytes, size, text)

    def test_a_bound_or_none(self) -> None:
        for text, size in (("0", 0), (" 0 ", 0), ("384 MiB", 384 * 2**20), ("1GiB", 2**30)):
            config = self.read(f"[broker]\nmemory_limit = {text}\n")
            self.assertEqual(config.broker.memory_limit, size, text)

    def test_forever_and_at_once(self) -> None:
        config = self.read("[retention]\ncompleted_s = forever\nexpired_s = 0\n")
        self.assertIsNone(config.retention.completed_s)
        self.assertEqual(config.retention.expired_s, 0.0)

    def test_lists(self) -> None:
        for text, endpoints in (
            ("tcp:1", ("tcp:1",)),
            ("tcp:1, unix:/a", ("tcp:1", "unix:/a")),
            (",", ()),
            ("", ()),
            ('"unix:/a,b", tcp:2', ("unix:/a,b", "tcp:2")),
        ):
            config = self.read(f"[listen]\nframed = {text}\n")
            self.assertEqual(config.listen.framed, endpoints, text)
            config = self.read(environ={"TASKQUEUE_LISTEN_FRAMED": text})
            self.assertEqual(config.listen.framed, endpoints, text)

    def test_queues(self) -> None:
        config = self.read(
            "[queues]\n[[emails]]\nmax_depth = 5\npaused = yes\n[[a/b.c:d-e_f]]\n",
            queues__x__y__max_lost="2",
        )
        self.assertEqual(
            config.queues,
            {
                "emails": QueueConfig(max_depth=5, paused=True),
                "a/b.c:d-e_f": QueueConfig(),
                "x.y": QueueConfig(max_lost=2),
            },
        )

    def test_a_scalar_from_outside_keeps_its_comma(self) -> None:
        config = self.read(environ={"TASKQUEUE_STORE_PATH": "/a, b"})
        self.assertEqual(config.store.path, "/a, b")

    def test_refused(self) -> None:
        for section, key, text, why in (
            ("broker", "max_retries", "three", "not a whole number"),
            ("broker", "max_retries", "1.0", "not a whole number"),
            ("broker", "max_retries", "-1", "too small; allowed: a whole number from 0 to 1000000"),
            ("broker", "max_retries", "1000001", "too large"),
            ("broker", "max_retries", "9" * 5000, "not a whole number"),
            ("broker", "lease_s", "soon", "not a number"),
            ("broker", "lease_s", "nan", "not a finite number"),
            ("broker", "lease_s", "1e999", "not a finite number"),
            ("broker", "lease_s", "0.01", "allowed: a number of seconds from 0.1 to 31536000"),
            ("broker", "retry_jitter", "1.5", "allowed: a number from 0 to 1"),
            ("broker", "max_held_bytes", "5 MB", "not a size"),
            ("broker", "max_held_bytes", "1.5 GiB", "not a size"),
            ("broker", "max_held_bytes", "1 KiB", "from 1 MiB to 1 TiB"),
            ("broker", "memory_limit", "100 MiB", "from 384 MiB to 1 TiB, or 0 for no bound"),
            ("broker", "memory_limit", "none", "not a size"),
            ("broker", "name", "a b", "not a name"),
            ("broker", "name", "", "not a name"),
            ("broker", "name", "a, b", "is a list"),
            ("store", "kind", "redis", "one of sqlite, memory"),
            ("store", "path", "''", "not a path"),
            ("retention", "completed_s", "never", "or forever"),
            ("retention", "completed_s", "-1", "too small"),
            ("log", "level", "verbose", "one of debug, info, warn, error, critical"),
            ("listen", "framed", "tcp:x", "'tcp:x' is not an endpoint"),
            ("http", "listen", "7781", "no endpoint type is called '7781'"),
            ("http", "cors_origins", "https://a.example/", "'https://a.example/' is not an origin"),
            ("http", "cors_origins", "*", "'*' is not an origin"),
            ("listen", "tls_certificate", "a.pem, b.pem", "is a list"),
            ("listen", "tls_client", "maybe", "one of none, optional, required"),
            ("listen", "proxy_peers", "proxy.example", "does not appear to be an IPv4 or IPv6"),
            ("listen", "proxy_peers", "10.1.2.3/16", "has host bits set"),
        ):
            (problem,) = self.problems(f"[{section}]\n{key} = {text}\n")
            self.assertTrue(problem.startswith(f"FILE line 2: [{section}] {key} = "), problem)
            self.assertIn(why, problem)
            self.assertIn("allowed: ", problem)

    def test_a_long_value_is_shown_in_part(self) -> None:
        (problem,) = self.problems(f"[log]\nlevel = {'x' * 10000}\n")
        self.assertLess(len(problem), 400)

    def test_both_bad_endpoints_are_told_of(self) -> None:
        (problem,) = self.problems("[listen]\nframed = tcp:70000, tcp:5, foo:1\n")
        self.assertIn("'tcp:70000' is not", problem)
        self.assertIn("'foo:1' is not", problem)


class Sources(ConfigCase):
    """Which source wins, and how each is named."""

    def test_precedence(self) -> None:
        file = "[broker]\nmax_lost = 1\nmax_retries = 1\nlease_s = 11\n"
        environ = {"TASKQUEUE_BROKER_MAX_RETRIES": "2", "TASKQUEUE_BROKER_LEASE_S": "12"}
        broker = self.read(file, environ, broker__lease_s="13").broker
        self.assertEqual((broker.max_lost, broker.max_retries, broker.lease_s), (1, 2, 13.0))

    def test_every_key_can_come_from_the_environment(self) -> None:
        for section in SECTIONS:
            for key in Spec().keys(section):
                variable = f"TASKQUEUE_{section}_{key}".upper()
                (problem,) = self.problems(environ={variable: "\0"})
                self.assertTrue(
                    problem.startswith(f"environment variable {variable}: [{section}] {key} ="),
                    problem,
                )

    def test_variables_that_are_none_of_ours(self) -> None:
        config = self.read(
            environ={
                "TASKQUEUE_BROKER": "tcp:example.com:7780",
                "TASKQUEUE_API_KEY_FILE": "/run/secrets/key",
                "TASKQUEUE_TLS_CERTIFICATE": "/etc/own.pem",
                "TASKQUEUE_CONFIG": "/etc/x",
                "TASKQUEUE_HTTP_SERVICE_HOST": "10.0.0.1",
                "TASKQUEUE_HTTP_SERVICE_PORT": "1",
                "TASKQUEUE_HTTP_PORT_7781_TCP_ADDR": "10.0.0.1",
                "TASKQUEUE_HTTP_PORT": "tcp://10.0.0.1:7781",
                "TASKQUEUE_TOKEN": "x",
                "TASKQUEUE_WORKER_ID": "w",
                "BROKER_LEASE_S": "junk",
            }
        )
        self.assertEqual(config, Config())

    def test_variables_that_look_like_ours(self) -> None:
        for variable, why in (
            (
                "TASKQUEUE_BROKER_LEESE_S",
                "unknown key 'leese_s' in [broker]; did you mean 'lease_s'",
            ),
            ("TASKQUEUE_LIMIT_MAX_CONNECTIONS", "unknown section [limit]; did you mean 'limits'"),
            ("TASKQUEUE_QUEUES_EMAILS_PAUSED", "queues cannot be set by environment variables"),
        ):
            (problem,) = self.problems(environ={variable: "1"})
            self.assertIn(f"environment variable {variable}: {why}", problem)

    def test_malformed_list(self) -> None:
        for text in ("'tcp:1", "tcp:1,\ntcp:2"):
            (problem,) = self.problems(environ={"TASKQUEUE_LISTEN_LINES": text})
            self.assertIn("quotes or commas do not match", problem)

    def test_command_line(self) -> None:
        for name, why in (
            ("verbose", "names no key; write section.key=value"),
            ("queues.emails", "names no key"),
            ("brokr.name", "unknown section [brokr]; did you mean 'broker'"),
            ("broker.nam", "unknown key 'nam' in [broker]; did you mean 'name'"),
            ("queues.a b.paused", "'a b' cannot be the name of a queue"),
            ("queues.a.pause", "unknown key 'pause' in [queues] [[a]]; did you mean 'paused'"),
        ):
            (problem,) = self.problems(**{name: "x"})
            self.assertTrue(problem.startswith("command line: "), problem)
            self.assertIn(why, problem)


class Files(ConfigCase):
    """What can be wrong with a file as such."""

    def test_unreadable(self) -> None:
        for path, why in (("/nonexistent/x", "No such file"), (os.curdir, "Is a directory")):
            error = self.assertRaises(ConfigError, load, path)
            self.assertEqual(len(error.problems), 1)
            self.assertIn(f"{path}: cannot be read: {why}", error.problems[0])

    def test_not_text(self) -> None:
        (problem,) = self.problems(b"[broker]\nname = \xff\n")
        self.assertEqual(problem, "FILE: line 2 is not UTF-8 text (byte 0xff); save it as UTF-8")

    def test_no_configuration_at_all(self) -> None:
        error = self.assertRaises(ConfigError, load, "/dev/zero")
        self.assertIn("no configuration file", str(error))

    def test_byte_order_mark_and_line_ends(self) -> None:
        config = self.read("\ufeff[broker]\r\nname = x\r\n")
        self.assertEqual(config.broker.name, "x")

    def test_syntax(self) -> None:
        for content, line, why in (
            ("[broker]\nname = a\nname = b\n", 3, "given already"),
            ("[log]\n[broker]\n[log]\n", 3, "opened already"),
            ("[broker]\njunk\n", 2, "neither 'key = value' nor a [section]"),
            ("[broker]\nname = 'a\n", 2, "quotes or commas do not match"),
            ("[[broker]\n", 1, "brackets do not match"),
            ("[[[broker]]]\n", 1, "too many brackets"),
        ):
            (problem,) = self.problems(content)
            self.assertTrue(problem.startswith(f"FILE line {line}: "), problem)
            self.assertIn(why, problem)

    def test_misplaced(self) -> None:
        for content, line, why in (
            ("max_frame_bytes = 1\n", 1, "before the first section; it belongs in [limits]"),
            ("broker = 1\n", 1, "a section begins with [broker] on a line of its own"),
            ("foo = 1\n", 1, "put it below the [section] that it belongs to"),
            ("[broker]\nmax_frame_bytes = 1\n", 2, "in [broker]; it belongs in [limits]"),
            ("[broker]\n[[sub]]\nx = 1\n", 2, "[broker] cannot hold a section [[sub]]"),
            ("[broker]\nzzz = 1\n", 2, "known keys: name, queue_depth_threshold"),
            ("[zzz]\n", 1, "unknown section [zzz]; known: broker, listen"),
            ("[limts]\na = 1\nb = 2\n", 2, "unknown section [limts]; did you mean 'limits'?"),
            ("[queues]\npaused = yes\n", 2, "'paused' stands in [queues] itself"),
            ("[queues]\n[[a b]]\n", 2, "'a b' cannot be the name of a queue"),
            ("[queues]\n[[a]]\nzzz = 1\n", 3, "unknown key 'zzz' in [queues] [[a]]; known keys"),
            ("[queues]\n[[a]]\n[[[b]]]\n", 3, "[queues] [[a]] cannot hold a section [[[b]]]"),
        ):
            (problem,) = self.problems(content)
            self.assertTrue(problem.startswith(f"FILE line {line}: "), problem)
            self.assertIn(why, problem)

    def test_everything_at_once(self) -> None:
        problems = self.problems(
            "[broker]\njunk\nlease_s = x\nnamee = y\n[limts]\na = 1\n"
            "[workers]\nheartbeat_s = 9\nstale_after_s = 9\n",
            {"TASKQUEUE_LOG_LEVEL": "loud"},
            store__kind="tape",
        )
        self.assertEqual(len(problems), 7, "\n".join(problems))


class Contradictions(ConfigCase):
    """Values that are fine alone, but not together."""

    def test_order(self) -> None:
        for section, lower, upper, equal_is_fine in (
            ("broker", "lease_min_s = 40", "lease_s = 30", True),
            ("broker", "lease_s = 50", "lease_max_s = 40", True),
            ("broker", "claim_wait_s = 50", "claim_wait_max_s = 40", True),
            ("broker", "retry_delay_s = 50", "retry_max_delay_s = 40", True),
            ("limits", "max_payload_bytes = 4 MiB", "max_frame_bytes = 3 MiB", False),
            ("limits", "max_frame_bytes = 20 MiB", "max_outbound_bytes = 17 MiB", True),
            ("workers", "heartbeat_s = 50", "stale_after_s = 40", False),
        ):
            (problem,) = self.problems(f"[{section}]\n{lower}\n{upper}\n")
            self.assertTrue(problem.startswith("FILE line 2, FILE line 3: "), problem)
            for key in (lower.partition(" ")[0], upper.partition(" ")[0]):
                self.assertIn(f"[{section}] {key} = ", problem)
            content = f"[{section}]\n{lower}\n{upper.partition('=')[0]}={lower.partition('=')[2]}\n"
            if equal_is_fine:
                self.read(content)
            else:
                self.problems(content)

    def test_against_a_default(self) -> None:
        (problem,) = self.problems("[broker]\nlease_s = 0.5\n")
        self.assertTrue(problem.startswith("FILE line 2: [broker] lease_min_s = 1.0 "), problem)

    def test_payloads_must_be_holdable(self) -> None:
        (problem,) = self.problems("[broker]\nmax_held_bytes = 1 MiB\n")
        self.assertIn("[broker] max_held_bytes = 1048576", problem)

    def test_a_refused_value_contradicts_nothing(self) -> None:
        self.assertEqual(len(self.problems("[broker]\nlease_s = 900000\nlease_max_s = x\n")), 1)

    def test_queues(self) -> None:
        for content, why in (
            ("lease_s = 0.5", "[[q]] lease_s = 0.5 must be from [broker] lease_min_s = 1.0"),
            ("lease_s = 90000", "to lease_max_s = 86400.0"),
            ("retry_delay_s = 4000", "at most [broker] retry_max_delay_s = 3600.0"),
            ("retry_max_delay_s = 1", "[broker] retry_delay_s = 5.0 must be at most"),
            ("retry_delay_s = 3\nretry_max_delay_s = 1", "no retry of queue 'q' waits longer"),
        ):
            (problem,) = self.problems(f"[queues]\n[[q]]\n{content}\n")
            self.assertIn(why, problem)
        self.read("[queues]\n[[q]]\nlease_s = 1\nretry_delay_s = 9\nretry_max_delay_s = 9\n")

    def test_one_address_twice(self) -> None:
        (problem,) = self.problems("[http]\nlisten = tcp:7780\n")
        self.assertIn("'tcp:7780:interface=127.0.0.1' and [http] listen 'tcp:7780'", problem)

    def test_tls_that_would_not_be_done(self) -> None:
        """Whoever sets a certificate means to encrypt: no tls_ setting is without effect."""
        framed, http = "framed = tls:port=1", "[http]\nlisten = ,\n"
        for text, why in (
            (f"{framed}", "'tls:port=1' has no certificate: set [listen] tls_certificate"),
            ("tls_certificate = /a.pem", "no endpoint uses it"),
            (f"{framed}:certificate=/b.pem\ntls_certificate = /a.pem", "no endpoint uses it"),
            ("tls_key = /a.pem", "[listen] tls_key is given, but no endpoint begins with tls:"),
            ("tls_client_ca = /a.pem", "tls_client_ca is given, but no endpoint"),
            ("tls_client = required", "no client could show a certificate"),
            (
                f"{framed}\ntls_certificate = /a.pem\ntls_client = optional",
                "asks clients for certificates (client = optional), but nobody may sign them",
            ),
            (
                f"{framed}:client_ca=/b.pem\ntls_certificate = /a.pem",
                "has a client_ca, but asks no client for a certificate",
            ),
            ("framed = haproxy:tcp:1\nproxy_peers = ,", "proxy_peers names none"),
        ):
            (problem,) = self.problems(f"[listen]\n{text}\n{http}")
            self.assertIn(why, problem)

    def test_tls_that_is_whole(self) -> None:
        for text in (
            "framed = tls:port=1:certificate=/a.pem",
            "framed = tls:/etc/certificates:port=1",
            "framed = ssl:1:privateKey=/a.pem",
            "framed = tls:port=1\ntls_certificate = /a.pem\ntls_key = /b.pem",
            "framed = tls:port=1, tls:port=2:client=none\ntls_certificate = /a.pem\n"
            "tls_client_ca = /c.pem\ntls_client = required",
        ):
            self.read(f"[listen]\n{text}\n")

    def test_foreign_doors_that_other_machines_reach(self) -> None:
        for text, words in (
            ("beanstalkd = tcp:11300", ("interface=127.0.0.1", "open_to_network = yes")),
            ("beanstalkd = tls:/etc/c:port=1", ("unix:", "open_to_network = yes")),
            ("faktory = tcp:7419", ("password_file", "interface=127.0.0.1")),
        ):
            (problem,) = self.problems(f"[listen]\n{text}\n")
            for word in (text.partition(" = ")[2], "can be reached from other machines", *words):
                self.assertIn(word, problem)

    def test_foreign_doors(self) -> None:
        for text in (
            "beanstalkd = tcp:11300:interface=127.0.0.1, unix:/run/b.sock, systemd:INET:index=0",
            "beanstalkd = tcp:11300\n[beanstalkd]\nopen_to_network = yes\nkey = jobs",
            "faktory = tcp:7419:interface=127.0.0.1",
            "faktory = tls:/etc/c:port=7419\n[faktory]\npassword_file = /etc/secret",
        ):
            self.read(f"[listen]\n{text}\n")

    def test_jobs_larger_than_payloads(self) -> None:
        small = "[limits]\nmax_payload_bytes = 1 KiB\n"
        self.read(small)  # nobody can put a job
        (problem,) = self.problems(f"[listen]\nbeanstalkd = unix:/run/b.sock\n{small}")
        self.assertIn("max_job_bytes = 65535 must be at most [limits] max_payload_bytes", problem)

    def test_names_of_keys(self) -> None:
        (problem,) = self.problems("[beanstalkd]\nkey = a b")
        self.assertIn("it is not the name of a key", problem)
        self.assertEqual(self.read("[faktory]\nkey = jobs@host/1").faktory.key, "jobs@host/1")

    def test_passwords_of_doors(self) -> None:
        self.assertIsNone(read_password(""))
        self.assertEqual(read_password(self.write("s3cret \r\nmore")), b"s3cret ")
        for path, why in (
            (self.write("\nx"), "its first line is empty"),
            ("/nowhere", "cannot be read: No such file"),
        ):
            error = self.assertRaises(ConfigError, read_password, path)
            self.assertIn(f"[faktory] password_file = {path!r}", str(error))
            self.assertIn(why, str(error))

    def test_nothing_listens(self) -> None:
        (problem,) = self.problems("[listen]\nframed = ,\n[http]\nlisten = ,\n")
        self.assertIn("nothing listens", problem)


_NAMES = st.text("abcXYZ019_.:/-", min_size=1, max_size=12)
_SECONDS = st.floats(1.0, 1000.0)


@st.composite
def _configs(draw: Any) -> Config:
    """Configurations that contradict nothing."""
    queue = st.builds(
        QueueConfig,
        max_depth=st.none() | st.integers(0, 10**9),
        lease_s=st.none() | _SECONDS,
        retry_jitter=st.none() | st.floats(0, 1),
        paused=st.booleans(),
    )
    kept = st.none() | st.floats(0, 315360000)
    paths = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(
        lambda text: not ("'" in text and '"' in text)
    )
    size = draw(st.integers(10 * 2**20 + 1, 2**30))
    return Config(
        broker=BrokerConfig(
            name=draw(_NAMES), lease_s=draw(_SECONDS), max_lost=draw(st.integers(0, 9))
        ),
        listen=ListenConfig(lines=draw(st.sampled_from([(), ("tcp:1",), ("unix:/a,b", "tcp:2")]))),
        store=StoreConfig(path=draw(paths), durability="interval"),
        queues=draw(st.dictionaries(_NAMES, queue, max_size=3)),
        workers=WorkersConfig(heartbeat_s=draw(st.floats(0.1, 29))),
        limits=LimitsConfig(max_frame_bytes=size, max_outbound_bytes=size, max_buffered_bytes=size),
        retention=RetentionConfig(completed_s=draw(kept), dead_letter_s=draw(kept)),
        http=HttpConfig(listen=()),
        log=LogConfig(level="debug", format="json"),
    )


class Writing(ConfigCase):
    """A configuration as text."""

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(_configs())
    def test_read_again_it_is_the_same(self, config: Config) -> None:
        self.assertEqual(load(self.write(as_text(config))), config)


class Differences(ConfigCase):
    """What changed, and what of it a running broker can change."""

    def test_none(self) -> None:
        self.assertEqual(differences(Config(), Config()), [])

    def test_values(self) -> None:
        new = Config(
            broker=BrokerConfig(name="other", max_lost=9),
            limits=LimitsConfig(max_connections=5),
            log=LogConfig(level="debug", format="json"),
        )
        self.assertEqual(
            [tuple(change) for change in differences(Config(), new)],
            [
                ("broker", "name", "taskqueue", "other", False),
                ("broker", "max_lost", 5, 9, True),
                ("limits", "max_connections", 1000, 5, True),
                ("log", "level", "info", "debug", True),
                ("log", "format", "text", "json", False),
            ],
        )

    def test_queues(self) -> None:
        old = Config(queues={"a": QueueConfig(), "gone": QueueConfig(max_lost=1)})
        new = Config(queues={"a": QueueConfig(paused=True), "added": QueueConfig()})
        self.assertEqual(
            [tuple(change) for change in differences(old, new)],
            [
                ("queues", "a.paused", False, True, True),
                ("queues", "added", None, QueueConfig(), True),
                ("queues", "gone", QueueConfig(max_lost=1), None, True),
            ],
        )

    def test_the_reference_says_which(self) -> None:
        text = REFERENCE.read_text()
        changed = replace(
            Config(),
            **{
                name: cls(**{field.name: object() for field in fields(cls)})
                for name, cls in SECTIONS.items()
            },
        )
        found = differences(Config(), changed)
        self.assertEqual(len(found), sum(len(Spec().keys(section)) for section in SECTIONS))
        for change in found:
            part = text.partition(f"### `[{change.section}]`")[2]
            (line,) = re.findall(rf"^\| `{change.key}` .*$", part.partition("###")[0], re.MULTILINE)
            self.assertIn("| yes |" if change.reloadable else "| restart |", line)

    def test_what_can_be_applied(self) -> None:
        new = Config(
            broker=BrokerConfig(name="other", max_lost=9),
            store=StoreConfig(path="/elsewhere"),
            listen=ListenConfig(framed=()),
            http=HttpConfig(listen=()),
            queues={"a": QueueConfig()},
            log=LogConfig(level="debug", format="json"),
        )
        self.assertEqual(
            applicable(Config(), new),
            Config(
                broker=BrokerConfig(max_lost=9),
                queues={"a": QueueConfig()},
                log=LogConfig(level="debug"),
            ),
        )
        remaining = differences(applicable(Config(), new), new)
        self.assertTrue(remaining)
        self.assertFalse(any(change.reloadable for change in remaining))
