"""What the shop keeps."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order, and the id of the task that sends its receipt."""

    item = models.CharField(max_length=100)
    receipt = models.CharField(max_length=64, default="")
    receipts_sent = models.IntegerField(default=0)
