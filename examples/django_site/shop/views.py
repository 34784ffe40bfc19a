"""The pages."""

from __future__ import annotations

from http import HTTPStatus

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shop.models import Order
from shop.tasks import send_receipt
from taskqueue.errors import TaskQueueError


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Take an order; its receipt is sent some time later."""
    item = request.POST.get("item", "")
    if not item:
        return JsonResponse({"error": "item, please"}, status=HTTPStatus.BAD_REQUEST)
    with transaction.atomic():
        ordered = Order.objects.create(item=item)
        # Not before: a worker would look for an order that is not there yet.
        transaction.on_commit(lambda: enqueue_receipt(ordered))
    where = reverse("order", args=[ordered.pk])
    return JsonResponse({"order": where}, status=HTTPStatus.ACCEPTED, headers={"Location": where})


def enqueue_receipt(ordered: Order) -> None:
    ordered.receipt = send_receipt.enqueue(ordered.pk).id
    ordered.save(update_fields=["receipt"])


def order_page(request: HttpRequest, number: int) -> HttpResponse:
    """An order, and what became of its receipt."""
    ordered = get_object_or_404(Order, pk=number)
    if not ordered.receipt:
        return JsonResponse({"item": ordered.item, "status": "NOT ENQUEUED", "receipt": None})
    try:
        receipt = send_receipt.get_result(ordered.receipt)
    except TaskQueueError as error:  # the broker is away; whoever asks can come again
        headers = {"Retry-After": "5"}
        return JsonResponse({"error": str(error)}, status=503, headers=headers)
    return JsonResponse(
        {
            "item": ordered.item,
            "status": receipt.status,
            "receipt": receipt.return_value if receipt.status == "SUCCESSFUL" else None,
        }
    )
