"""
From a payload to a verdict.
"""

from __future__ import annotations

import asyncio
import json
import sys

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.application import App
from taskqueue.app.calls import Parameters
from taskqueue.app.context import Context
from taskqueue.app.outcomes import Discard, PermanentFailure, Retry, Snooze, Verdict
from taskqueue.app.performing import async_perform, perform
from taskqueue.app.verdicts import LONGEST_ERROR
from tests.app.running import Heard, context


class PerformingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App()

    def run_task(self, function, payload=b"", in_context=None, **how) -> Verdict:
        definition = self.app.task("a-task", **how)(function)
        return perform(definition, payload, in_context or context())

    def raising(self, error: BaseException, in_context=None, **how) -> Verdict:
        def fails():
            raise error

        return self.run_task(fails, in_context=in_context, **how)


class ArgumentTests(PerformingCase):
    def test_arguments_of_a_call(self) -> None:
        payload = b'{"args":[1],"kwargs":{"b":2}}'
        verdict = self.run_task(lambda a, b: [a, b], payload)
        self.assertEqual(verdict, Verdict("completed", b"[1,2]"))

    def test_an_object_is_arguments_by_name(self) -> None:
        self.assertEqual(self.run_task(lambda to: to, b'{"to":"a@b"}').result, b'"a@b"')

    def test_arguments_that_are_named_like_the_form(self) -> None:
        self.assertEqual(self.run_task(lambda args: args, b'{"args":{"a":1}}').result, b'{"a":1}')

    def test_nothing_is_no_arguments(self) -> None:
        self.assertEqual(self.run_task(lambda: 1).result, b"1")

    def test_the_context_comes_first(self) -> None:
        def named(ctx, a):
            return [ctx.id, a]

        def annotated(where: Context, a):
            return [where.id, a]

        for function in (named, annotated):
            self.app.handlers.clear()
            result = json.loads(self.run_task(function, b'{"a":1}').result)
            self.assertEqual(result, [context().id, 1])

    def test_annotations_of_every_kind(self) -> None:
        for where, annotation, wanted in (
            ({"Context": Context}, "Context", True),
            ({"Context": Context}, "'Context'", True),
            ({}, "'taskqueue.Context'", True),  # imported for type checkers only
            ({}, "int", False),
            ({}, "'Unknown'", False),
        ):
            program = f"def f(first: {annotation}): return 1"
            exec(compile(program, "f", "exec", dont_inherit=True), where)
            self.assertEqual(Parameters(where["f"], "f").wants_context, wanted, annotation)
        self.assertFalse(Parameters(lambda *ctx: 1, "f").wants_context)

    def test_what_does_not_fit_fails_for_good(self) -> None:
        def mail(to, subject="none"):
            raise AssertionError("it ran")

        for payload, words in (
            (b'{"subject":"x"}', "missing a required argument: 'to'"),
            (b'{"to":"a","cc":"b"}', "unexpected keyword argument 'cc'"),
            (b'{"args":[1,2,3],"kwargs":{}}', "too many positional arguments"),
            (b'{"args":1,"kwargs":{}}', '"args" must be a list'),
            (b"[1]", "the payload is a list"),
            (b"\xff", "cannot be read"),
        ):
            self.app.handlers.clear()
            verdict = self.run_task(mail, payload)
            self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
            self.assertIn(words, verdict.error)
            self.assertNotIn("Traceback", verdict.error)

    def test_raw(self) -> None:
        verdict = self.run_task(lambda payload: payload[::-1], b"\xffab", raw=True)
        self.assertEqual(verdict, Verdict("completed", b"ba\xff"))


class VerdictTests(PerformingCase):
    def test_results(self) -> None:
        for value, result in (
            (None, b""),
            (b"\x00", b"\x00"),
            ("text", b'"text"'),
            ({"a": [1.5, None]}, b'{"a":[1.5,null]}'),
        ):
            self.app.handlers.clear()
            self.assertEqual(self.run_task(lambda v=value: v), Verdict("completed", result))

    def test_a_result_that_cannot_be_written_fails_for_good(self) -> None:
        verdict = self.run_task(lambda: {"a": object()})
        self.assertEqual((verdict.status, verdict.permanent), ("failed", True))
        self.assertIn("a-task returned what cannot be written", verdict.error)

    def test_a_result_in_bytes(self) -> None:
        self.assertEqual(self.run_task(lambda: bytearray(b"x"), result_codec="bytes").result, b"x")
        self.app.handlers.clear()
        verdict = self.run_task(lambda a=1: {}, result_codec="bytes")
        self.assertIn("must be bytes, not dict", verdict.error)

    def test_what_a_task_can_raise(self) -> None:
        for error, verdict in (
            (Retry(), Verdict("failed", error="the task asked to be tried again")),
            (Retry(5, "busy"), Verdict("failed", error="busy", retry_in_s=5)),
            (Retry(-1), Verdict("failed", error="the task asked to be tried again", retry_in_s=0)),
            (Snooze(9), Verdict("released", delay_s=9)),
            (Discard(), Verdict("failed", error="discarded", permanent=True)),
            (Discard("old"), Verdict("failed", error="discarded: old", permanent=True)),
        ):
            self.app.handlers.clear()
            self.assertEqual(self.raising(error), verdict)

    def test_an_exception_fails_the_task_with_its_traceback(self) -> None:
        def fails():
            return 1 / 0

        verdict = self.run_task(fails)
        self.assertEqual((verdict.status, verdict.permanent), ("failed", False))
        self.assertEqual(verdict.error.splitlines()[0], "ZeroDivisionError: division by zero")
        self.assertIn("return 1 / 0", verdict.error)
        self.assertNotIn("app/performing.py", verdict.error)

    def test_permanent_failures(self) -> None:
        self.assertTrue(self.raising(PermanentFailure("no")).permanent)
        self.app.handlers.clear()
        self.assertTrue(self.raising(KeyError("x"), no_retry_for=(LookupError,)).permanent)
        self.app.handlers.clear()
        self.assertFalse(self.raising(OSError("x"), no_retry_for=(LookupError,)).permanent)

    def test_exit_fails_the_task_and_an_interrupt_passes(self) -> None:
        self.assertEqual(self.run_task(lambda: sys.exit(3)).error.splitlines()[0], "SystemExit: 3")
        self.app.handlers.clear()
        self.assertRaises(KeyboardInterrupt, self.raising, KeyboardInterrupt())

    def test_an_error_is_bounded(self) -> None:
        error = self.raising(ValueError("x" * 100_000)).error
        self.assertLessEqual(len(error), LONGEST_ERROR)
        self.assertIn("raise error", error)

    def test_a_coroutine_that_nobody_awaits_fails_for_good(self) -> None:
        async def later():
            return 1

        verdict = self.run_task(lambda n=0: later())
        self.assertTrue(verdict.permanent)
        self.assertIn("which nobody awaits here", verdict.error)


class ContextTests(PerformingCase):
    def test_progress_and_log(self) -> None:
        heard = Heard()

        def speaks(ctx):
            ctx.progress({"done": 1})
            ctx.log("half", of=2)

        self.run_task(speaks, in_context=context(heard))
        self.assertEqual(heard.progressed, [{"done": 1}])
        self.assertEqual(heard.logged, [("half", {"of": 2})])

    def test_cancelled(self) -> None:
        where = context()
        where.cancelled = True
        self.assertTrue(where.stopping)
        verdict = self.run_task(lambda ctx: ctx.check(), in_context=where)
        self.assertEqual(verdict, Verdict("cancelled"))

    def test_a_lost_lease_is_no_cancellation(self) -> None:
        where = context()
        where.lease_lost = True
        verdict = self.run_task(lambda ctx: ctx.check(), in_context=where)
        self.assertEqual(verdict.status, "failed")
        self.assertIn("not this worker's any more", verdict.error)

    def test_check_passes_while_all_is_well(self) -> None:
        where = context()
        self.assertEqual(self.run_task(lambda ctx: ctx.check(), in_context=where).result, b"")
        self.assertFalse(where.stopping)

    def test_made_again_elsewhere(self) -> None:
        again = Context(Heard(), context().described())
        self.assertEqual(again.described(), context().described())
        self.assertEqual(again.headers, {"from": "test"})


class AsynchronousTests(PerformingCase):
    def perform(self, function, payload=b"", in_context=None, **how) -> Verdict:
        definition = self.app.task("a-task", **how)(function)
        running = async_perform(definition, payload, in_context or context())
        return self.successResultOf(Deferred.fromCoroutine(running))

    def test_coroutines_and_deferreds(self) -> None:
        async def doubled(ctx, n):
            return await succeed(2 * n)

        self.assertEqual(self.perform(doubled, b'{"n":4}').result, b"8")
        self.assertTrue(self.app.handlers["a-task"].in_loop)
        self.app.handlers.clear()
        self.assertEqual(self.perform(lambda: succeed(1), in_loop=True).result, b"1")

    def test_on_asyncio(self) -> None:
        async def slow():
            await asyncio.sleep(0)
            return "done"

        definition = self.app.task(slow)
        verdict = asyncio.run(async_perform(definition, b"", context()))
        self.assertEqual(verdict.result, b'"done"')

    def test_failures(self) -> None:
        async def fails():
            raise Retry(3)

        self.assertEqual(self.perform(fails).retry_in_s, 3)

    def test_cancelled(self) -> None:
        where = context()
        where.cancelled = True
        for error in (CancelledError(), asyncio.CancelledError()):
            self.app.handlers.clear()

            async def stops(error=error):
                raise error

            self.assertEqual(self.perform(stops, in_context=where), Verdict("cancelled"))

    def test_stopped_for_another_reason(self) -> None:
        async def stops():
            raise asyncio.CancelledError

        self.assertEqual(self.perform(stops).status, "failed")


class MiddlewareTests(PerformingCase):
    def test_around_in_order(self) -> None:
        seen = []

        class Around:
            def __init__(self, name):
                self.name = name

            def around_perform(self, context, call):
                seen.append(f"{self.name} before")
                value = call()
                seen.append(f"{self.name} after")
                return [*value, self.name]

            async def around_async_perform(self, context, call):
                return [*(await call()), self.name]

        self.app.middleware += [Around("outer"), Around("inner"), object()]
        result = self.run_task(lambda: ["task"]).result
        self.assertEqual(json.loads(result), ["task", "inner", "outer"])
        self.assertEqual(seen, ["outer before", "inner before", "inner after", "outer after"])

        async def later():
            return ["task"]

        running = async_perform(self.app.task(later), b"", context())
        verdict = self.successResultOf(Deferred.fromCoroutine(running))
        self.assertEqual(json.loads(verdict.result), ["task", "inner", "outer"])

    def test_it_sees_arguments_that_do_not_fit(self) -> None:
        seen = []

        class Reports:
            def around_perform(self, context, call):
                try:
                    return call()
                except Exception as error:
                    seen.append(error)
                    raise

        self.app.middleware.append(Reports())
        self.assertTrue(self.run_task(lambda a: a).permanent)
        self.assertIn("missing a required argument", str(seen[0]))
