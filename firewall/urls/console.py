"""Pages of the firewall."""

from django.urls import path

from firewall.console import edits, events, live, policies, shadow, tools, trying

urlpatterns = [
    path("test/", trying.firewall_test, name="firewall_test"),
    path("tools/", tools.tools, name="tools"),
    path("tools/draft/", tools.tools_draft, name="tools_draft"),
    path("events/", events.events, name="events"),
    path("events/live/", live.live, name="events_live"),
    path("events/<uuid:pk>/", events.event, name="event"),
    path("events/<uuid:pk>/<int:place>/", events.event, name="event_tool"),
    path("policies/", policies.policies, name="policies"),
    path("policies/new/", policies.policy_new, name="policy_new"),
    path("policies/rule-words/", edits.rule_words, name="rule_words"),
    path("policies/<str:pk>/", policies.policy, name="policy"),
    path("policies/<str:pk>/set/", policies.policy_set, name="policy_set"),
    path("policies/<str:pk>/shadow/", shadow.shadow_report, name="shadow_report"),
    path("policies/<str:pk>/delete/", policies.policy_delete, name="policy_delete"),
    path("policies/<str:pk>/rules/", edits.rule_add, name="rule_add"),
    path("policies/<str:pk>/rules/order/", edits.rules_order, name="rules_order"),
    path("policies/<str:pk>/rules/<str:rule>/", edits.rule_change, name="rule_change"),
    path("policies/<str:pk>/rules/<str:rule>/delete/", edits.rule_delete, name="rule_delete"),
]
