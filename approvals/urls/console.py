"""Pages of holds."""

from django.urls import path

from approvals.console import settings

urlpatterns = [
    path("settings/", settings.settings, name="settings"),
    path("settings/plan/remove/", settings.plan_remove, name="plan_remove"),
    path("settings/webhook/", settings.webhook_act, name="webhook_act"),
    path("settings/deliveries/", settings.deliveries, name="deliveries"),
    path("settings/deliveries/<str:pk>/", settings.delivery, name="delivery"),
]
