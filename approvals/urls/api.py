"""Routes of holds' management API."""

from django.urls import path

from approvals.api.deliveries import DeliveryViewSet
from approvals.api.holds import ApprovalViewSet
from approvals.api.settings import SettingsViewSet

urlpatterns = [
    path("workspace/firewall/settings", SettingsViewSet.as_view({"get": "retrieve", "put": "update"}), name="firewall-settings"),
    path("workspace/firewall/approvals", ApprovalViewSet.as_view({"get": "list"}), name="approvals"),
    path("workspace/firewall/approvals/<str:pk>", ApprovalViewSet.as_view({"get": "retrieve"}), name="approval"),
    path("workspace/firewall/approvals/<str:pk>/approve", ApprovalViewSet.as_view({"post": "approve"}), name="approval-approve"),
    path("workspace/firewall/approvals/<str:pk>/reject", ApprovalViewSet.as_view({"post": "reject"}), name="approval-reject"),
    path("workspace/firewall/approval-webhook/deliveries", DeliveryViewSet.as_view({"get": "list"}), name="deliveries"),
    path("workspace/firewall/approval-webhook/deliveries/<str:pk>", DeliveryViewSet.as_view({"get": "retrieve"}), name="delivery"),
    path("workspace/firewall/approval-webhook/deliveries/<str:pk>/resend", DeliveryViewSet.as_view({"post": "resend"}), name="delivery-resend"),
    path("workspace/firewall/approval-webhook/test", DeliveryViewSet.as_view({"post": "test"}), name="webhook-test"),
    path("workspace/firewall/approval-webhook/resume", DeliveryViewSet.as_view({"post": "resume"}), name="webhook-resume"),
]
