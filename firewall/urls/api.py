"""Routes of the firewall's management API."""

from django.urls import path

from firewall.api.events import EventViewSet
from firewall.api.policies import PolicyViewSet, RuleViewSet, SettingsViewSet

ITEM = {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
COLLECTION = {"get": "list", "post": "create", "put": "change_named"}

urlpatterns = [
    path("workspace/firewall/policies", PolicyViewSet.as_view(COLLECTION), name="policies"),
    path("workspace/firewall/policies/<str:pk>", PolicyViewSet.as_view(ITEM), name="policy"),
    path("workspace/firewall/policies/<str:pk>/rules/order", PolicyViewSet.as_view({"put": "order"}), name="policy-order"),
    path("workspace/firewall/rules", RuleViewSet.as_view(COLLECTION), name="rules"),
    path("workspace/firewall/rules/<str:pk>", RuleViewSet.as_view(ITEM), name="rule"),
    path("workspace/firewall/settings", SettingsViewSet.as_view({"get": "retrieve", "put": "update"}), name="firewall-settings"),
    path("workspace/firewall/events", EventViewSet.as_view({"get": "list"}), name="events"),
    path("workspace/firewall/events/by-request/<str:request_id>", EventViewSet.as_view({"get": "of_request"}), name="events-of-request"),
]
