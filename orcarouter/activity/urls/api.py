"""Routes that join events with usage."""

from django.urls import path

from orcarouter.activity.api import RunViewSet
from orcarouter.activity.spend_api import UsageViewSet

urlpatterns = [
    path("workspace/firewall/events/aggregate", RunViewSet.as_view({"get": "aggregate"}), name="aggregate"),
    path("workspace/firewall/trace/by-run", RunViewSet.as_view({"get": "trace"}), name="trace"),
    path("workspace/firewall/runs/stop", RunViewSet.as_view({"post": "stop"}), name="run_stop"),
    path("workspace/usage/", UsageViewSet.as_view({"get": "totals"}), name="usage"),
    path("workspace/usage/export/", UsageViewSet.as_view({"get": "export"}), name="usage_export"),
]
