"""What the shop's workers do."""

from __future__ import annotations

from django.db.models import F

from shop.models import Order

try:
    from django.tasks import task
except ImportError:  # before Django 6
    from django_tasks import task


@task
def send_receipt(number: int) -> str:
    """
    Write a receipt, and note that it was sent.

    A task may run again when its worker died before it could say that it was done.
    """
    order = Order.objects.get(pk=number)
    Order.objects.filter(pk=number).update(receipts_sent=F("receipts_sent") + 1)
    return f"Order {order.pk}: {order.item}"


@task(queue_name="urgent", priority=50, takes_context=True)
def warn_of_low_stock(context, item: str) -> str:
    """Tell the buyers, at the third attempt: two things go wrong before."""
    if context.attempt < 3:
        raise ConnectionError("the buyers' mail server does not answer")
    return f"{item} is low, said at attempt {context.attempt}"


@task
async def count_orders() -> int:
    """Coroutines can be tasks as well."""
    return await Order.objects.acount()
