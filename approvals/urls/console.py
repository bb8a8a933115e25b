"""Pages of holds."""

from django.urls import path

from approvals.console import holds, settings

urlpatterns = [
    path("approvals/", holds.approvals, name="approvals"),
    path("approvals/<str:pk>/", holds.approval, name="approval"),
    path("approvals/<str:pk>/decide/", holds.decide, name="approval_decide"),
    path("settings/", settings.settings, name="settings"),
    path("settings/plan/remove/", settings.plan_remove, name="plan_remove"),
    path("settings/webhook/", settings.webhook_act, name="webhook_act"),
    path("settings/deliveries/", settings.deliveries, name="deliveries"),
    path("settings/deliveries/<str:pk>/", settings.delivery, name="delivery"),
]
