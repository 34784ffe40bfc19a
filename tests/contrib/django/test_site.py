"""A site that enqueues, a broker, and a worker: the example, as a user runs it."""

from __future__ import annotations

import signal

from tests.contrib.django.site import SiteCase
from tests.process.children import PATIENCE_S, until


class SiteTests(SiteCase):
    def test_an_order_and_its_receipt(self) -> None:
        """Through the views: enqueued on commit, and its result read by another process."""
        self.begin_site()
        answer = self.program_of_the_site("""
            from django.test import Client
            ordered = Client().post("/orders", {"item": "tea"})
            assert ordered.status_code == 202, ordered.content
            wrong = Client().post("/orders", {})
            from shop.models import Order
            from shop.tasks import send_receipt
            order = Order.objects.get()
            ended(send_receipt.get_result(order.receipt))
            order.refresh_from_db()
            page = Client().get(ordered.headers["Location"])
            print(json.dumps([wrong.status_code, order.receipts_sent, page.json()]))
        """)
        page = {"item": "tea", "status": "SUCCESSFUL", "receipt": "Order 1: tea"}
        self.assertEqual(answer, [400, 1, page])

    def test_what_is_rolled_back_is_not_enqueued(self) -> None:
        self.begin_site()
        answer = self.program_of_the_site("""
            from django.db import transaction
            from shop.models import Order
            from shop.tasks import count_orders
            seen = []
            def enqueue():
                seen.append(count_orders.enqueue())
            try:
                with transaction.atomic():
                    Order.objects.create(item="tea")
                    transaction.on_commit(enqueue)
                    raise KeyError
            except KeyError:
                pass
            with transaction.atomic():
                Order.objects.create(item="milk")
                transaction.on_commit(enqueue)
                assert not seen
            print(json.dumps([len(seen), ended(seen[0]).return_value]))
        """)
        self.assertEqual(answer, [1, 1])

    def test_attempts_and_their_errors(self) -> None:
        """Two attempts fail, as the queue's options allow; each task knows its attempt."""
        self.begin_site("--processes", "2", "--id", "shop-1")
        answer = self.program_of_the_site("""
            from shop.tasks import warn_of_low_stock
            result = ended(warn_of_low_stock.enqueue(item="tea"))
            error = result.errors[1]
            assert error.exception_class is ConnectionError
            assert "shop/tasks.py" in error.traceback, error.traceback
            assert result.enqueued_at <= result.started_at < result.last_attempted_at
            assert result.last_attempted_at <= result.finished_at
            assert (result.task.priority, result.task.queue_name) == (50, "urgent")
            print(json.dumps([result.return_value, result.attempts, result.worker_ids]))
        """)
        told = "tea is low, said at attempt 3"
        self.assertEqual(answer, [told, 3, ["shop-1"] * 3])

    def test_no_retry_unless_the_options_say_so(self) -> None:
        self.begin_site()
        answer = self.program_of_the_site("""
            from shop.models import Order
            from shop.tasks import send_receipt
            result = ended(send_receipt.enqueue(7))
            (error,) = result.errors
            assert error.exception_class is Order.DoesNotExist, error
            print(json.dumps([result.status, result.attempts, error.exception_class_path]))
        """)
        self.assertEqual(answer, ["FAILED", 1, "shop.models.Order.DoesNotExist"])

    def test_coroutines_on_both_sides(self) -> None:
        self.begin_site()
        answer = self.program_of_the_site("""
            import asyncio
            from shop.tasks import count_orders
            async def many():
                results = await asyncio.gather(*[count_orders.aenqueue() for _ in range(20)])
                while not all(result.is_finished for result in results):
                    await asyncio.gather(*[result.arefresh() for result in results])
                found = await count_orders.aget_result(results[0].id)
                return [found.return_value, len({result.id for result in results})]
            print(json.dumps(asyncio.run(many())))
        """)
        self.assertEqual(answer, [0, 20])

    def test_later(self) -> None:
        """The broker keeps it: no worker holds what is not due."""
        self.begin_site()
        answer = self.program_of_the_site("""
            from datetime import timedelta
            from django.utils import timezone
            from shop.tasks import count_orders
            at = timezone.now() + timedelta(seconds=1.5)
            hour = timezone.now() + timedelta(hours=1)
            soon = count_orders.using(run_after=at).enqueue()
            late = count_orders.using(run_after=hour).enqueue()
            ended(soon)
            late.refresh()
            found = count_orders.get_result(late.id)
            print(json.dumps([
                soon.started_at >= at, late.status, late.attempts, found.task.run_after == hour
            ]))
        """)
        self.assertEqual(answer, [True, "READY", 0, True])

    def test_threads(self) -> None:
        self.begin_site("--threads", "--processes", "4")
        answer = self.program_of_the_site("""
            from shop.models import Order
            from shop.tasks import send_receipt
            orders = [Order.objects.create(item=str(n)) for n in range(8)]
            results = ended(*[send_receipt.enqueue(order.pk) for order in orders])
            print(json.dumps([result.return_value for result in results]))
        """)
        self.assertEqual(answer, [f"Order {n}: {n - 1}" for n in range(1, 9)])

    def test_it_stops_when_it_is_told_to(self) -> None:
        self.begin_site()
        worker = self.begin_site_worker("--id", "shop-2")
        until("it is registered", lambda: "shop-2 is registered" in self.worker_said())
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(PATIENCE_S), 0, self.worker_said())

    def test_nothing_is_wrong_with_the_settings(self) -> None:
        self.begin_broker()
        self.assertIn("no issues", self.manage("check"))
