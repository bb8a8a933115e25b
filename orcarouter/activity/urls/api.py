"""Routes that join events with usage."""

from django.urls import path

from orcarouter.activity.api import RunViewSet

urlpatterns = [
    path("workspace/firewall/events/aggregate", RunViewSet.as_view({"get": "aggregate"}), name="aggregate"),
    path("workspace/firewall/trace/by-run", RunViewSet.as_view({"get": "trace"}), name="trace"),
]
