"""Two pages: to order, and to see what became of an order."""

from __future__ import annotations

from django.urls import path
from shop import views

urlpatterns = [
    path("orders", views.order),
    path("orders/<int:number>", views.order_page, name="order"),
]
