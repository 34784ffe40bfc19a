"""The table of orders."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [  # noqa: RUF012  # as Django writes it
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("item", models.CharField(max_length=100)),
                ("receipt", models.CharField(max_length=64, default="")),
                ("receipts_sent", models.IntegerField(default=0)),
            ],
        ),
    ]
