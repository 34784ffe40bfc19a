"""What TASKS may say, and what is said of what it may not."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client.tls import TLS
from taskqueue.contrib.django.options import BadOptions, Options, Reach, Treatment, read
from tests.contrib.django.office.tasks import add
from tests.contrib.django.project import backend_with, use

QUEUES = ["default", "mail"]


def options(**given: Any) -> Options:
    return read("default", given, QUEUES, {})


class ReadTests(SynchronousTestCase):
    def test_nothing_needs_to_be_said(self) -> None:
        self.assertEqual(options().reach, Reach("tq://127.0.0.1:7780", 5.0))
        self.assertEqual(options().of_queue("mail"), Treatment())
        self.assertEqual(Treatment().max_retries, 0)

    def test_the_environment_names_the_broker(self) -> None:
        environ = {"TASKQUEUE_BROKER": "tq://b:1"}
        self.assertEqual(read("default", {}, QUEUES, environ).reach.address, "tq://b:1")
        said = read("default", {"address": "tq://a:1"}, QUEUES, environ)
        self.assertEqual(said.reach.address, "tq://a:1")

    def test_all_that_may_be_said(self) -> None:
        key = Path(self.mktemp())
        key.write_text("tq_secret\n")
        key.chmod(stat.S_IRUSR)
        read = options(
            address=["tqs://a:1", "tqs://b:2"],
            timeout=timedelta(milliseconds=1500),
            tls={"server_name": "broker.example"},
            api_key_file=key,
            max_retries=2,
            retry_delay=timedelta(seconds=3),
            task_timeout=60,
            queues={"mail": {"max_retries": 9, "retry_max_delay": 10, "max_lost": 1}},
            modules=["shop.jobs"],
        )
        self.assertEqual(
            read.reach,
            Reach("tqs://a:1,tqs://b:2", 1.5, TLS(server_name="broker.example"), None, str(key)),
        )
        self.assertEqual(read.of_queue("default"), Treatment(2, None, 3.0, None, 60.0))
        self.assertEqual(read.of_queue("mail"), Treatment(9, 1, 3.0, 10.0, 60.0))
        self.assertEqual(read.modules, ("shop.jobs",))
        made = read.reach.client_options("x")
        self.assertEqual((made["name"], made["api_key"].read()), ("x", "tq_secret"))

    def test_what_is_none_is_not_said(self) -> None:
        self.assertEqual(options(tls=None, api_key=None, retry_delay=None), options())

    def test_what_is_wrong(self) -> None:
        for wrong, words in {
            "retries": "OPTIONS has 'retries', which means nothing; there are address, api_key",
            "address": "OPTIONS['address'] is 7, must be an address such as",
            "timeout": "OPTIONS['timeout'] is 7, must be seconds, more than 0",
            "tls": "OPTIONS['tls'] is 7, must be True, or a dictionary of ca, certificate",
            "api_key_file": "OPTIONS['api_key_file'] is 7, must be a text",
            "max_retries": "OPTIONS['max_retries'] is 7, must be a whole number, 0 to 1000",
            "retry_delay": "OPTIONS['retry_delay'] is 7, must be seconds, 0 to 3.1536e+07",
            "task_timeout": "OPTIONS['task_timeout'] is 7, must be seconds, more than 0",
            "queues": "OPTIONS['queues'] must be a dictionary",
            "modules": "OPTIONS['modules'] is 7, must be a list of dotted names",
        }.items():
            value = _Seven() if wrong != "queues" else 7
            error = self.assertRaises(BadOptions, options, **{wrong: value})
            self.assertIn(words, str(error))
            self.assertIsInstance(error, ImproperlyConfigured)

    def test_numbers_that_are_none(self) -> None:
        for name in ("max_retries", "max_lost"):
            for value in (-1, 1001, True, 2.0, "3"):
                self.assertRaises(BadOptions, options, **{name: value})
        for name in ("retry_delay", "task_timeout", "timeout"):
            for value in (-1, float("nan"), float("inf"), True, "3"):
                self.assertRaises(BadOptions, options, **{name: value})
        self.assertRaises(BadOptions, options, task_timeout=0)
        self.assertEqual(options(retry_delay=0).treatment.retry_delay, 0.0)

    def test_queues(self) -> None:
        for queues, words in (
            ({"post": {}}, "OPTIONS['queues']['post']: there is no such queue in QUEUES"),
            ({"mail": 3}, "OPTIONS['queues']['mail'] must be a dictionary of options"),
            ({"mail": {"address": "x"}}, "['mail'] has 'address', which means nothing"),
            ({"mail": {"max_retries": -1}}, "['mail']['max_retries'] is -1, must be a whole"),
        ):
            self.assertIn(words, str(self.assertRaises(BadOptions, options, queues=queues)))
        for name in ("über", "", "a b", "x" * 129, 7):
            error = self.assertRaises(BadOptions, read, "default", {}, [name], {})
            self.assertIn(f"QUEUES has {name!r}", str(error))

    def test_files_are_looked_at_later(self) -> None:
        for given, words in (
            ({"api_key_file": "/nowhere"}, "/nowhere, cannot be read"),
            ({"tls": {"ca": "/nowhere"}, "address": "tqs://a"}, "/nowhere"),
            ({"api_key": "two words"}, "holds no key"),
        ):
            self.assertIn(words, options(**given).reach.problem() or "")
        self.assertIsNone(options().reach.problem())

    def test_whatever_the_client_would_complain_of(self) -> None:
        for wrong, words in (
            ({"address": "redis://a"}, "is no address of a broker"),
            ({"tls": True, "address": "unix:/x"}, "a Unix socket is not encrypted"),
            ({"address": "tq://a,tqs://b"}, "some addresses begin with tqs://"),
            ({"api_key": "k", "api_key_file": "/nowhere"}, "api_key and api_key_file"),
        ):
            self.assertIn(words, str(self.assertRaises(BadOptions, options, **wrong)))

    def test_keys_are_not_repeated(self) -> None:
        error = self.assertRaises(BadOptions, options, api_key=["tq_secret"])
        self.assertIn("api_key", str(error))
        self.assertNotIn("secret", str(error))
        self.assertNotIn("secret", options(api_key="tq_secret word").reach.problem() or "")
        self.assertNotIn("secret", repr(options(api_key="tq_secret")))

    def test_everything_that_is_wrong_is_told_at_once(self) -> None:
        error = self.assertRaises(BadOptions, options, max_retries=-1, modules="x", nonsense=1)
        self.assertEqual(len(error.problems), 3)
        self.assertRaises(BadOptions, read, "default", ["x"], QUEUES, {})


class _Seven:
    """What is of no type that any option has."""

    def __repr__(self) -> str:
        return "7"


class CheckTests(SynchronousTestCase):
    def test_nothing_is_wrong(self) -> None:
        self.assertEqual(list(backend_with().check()), [])

    def test_each_thing_that_is_wrong(self) -> None:
        found = list(backend_with({"max_retries": -1, "nonsense": 1}).check())
        self.assertEqual([message.id for message in found], ["taskqueue.E001"] * 2)
        self.assertTrue(all(message.msg.startswith("TASKS['default']: ") for message in found))

    def test_files_that_are_for_others(self) -> None:
        """Whoever migrates the database, or builds an image, need not have the key."""
        (message,) = backend_with({"api_key_file": "/nowhere"}).check()
        self.assertEqual((message.id, message.is_serious()), ("taskqueue.W002", False))
        self.assertIn("/nowhere, cannot be read", message.msg)

    def test_manage_py_check_tells(self) -> None:
        use(self, {"timeout": "soon"})
        error = self.assertRaises(SystemCheckError, call_command, "check")
        self.assertIn("OPTIONS['timeout'] is 'soon', must be seconds", str(error))

    def test_without_the_app_there_is_no_worker(self) -> None:
        from taskqueue.contrib.django import backend

        self.patch(backend, "APP", "taskqueue.contrib.another")
        (message,) = backend_with().check()
        self.assertEqual(message.id, "taskqueue.W001")
        self.assertIn("INSTALLED_APPS", message.hint)

    def test_to_enqueue_tells_too(self) -> None:
        """Tasks are declared with whatever options; it is their use that fails."""
        use(self, {"nonsense": 1})
        self.assertIn("nonsense", str(self.assertRaises(BadOptions, add.enqueue, 1)))

    def test_the_environment_is_read(self) -> None:
        self.patch(os, "environ", {**os.environ, "TASKQUEUE_BROKER": "tq://there:1"})
        self.assertEqual(backend_with().settings.reach.address, "tq://there:1")
