"""Pages of the firewall."""

from django.urls import path

from firewall.console import autonomy, backtests, edits, events, history, live, policies, posture, shadow, tools, trying, typed

urlpatterns = [
    path("backtests/", backtests.backtests, name="backtests"),
    path("backtests/<str:pk>/", backtests.backtest, name="backtest"),
    path("backtests/<str:pk>/cancel/", backtests.backtest_cancel, name="backtest_cancel"),
    path("policies/<str:pk>/backtest/", backtests.backtest_draft, name="backtest_draft"),
    path("test/", trying.firewall_test, name="firewall_test"),
    path("tools/", tools.tools, name="tools"),
    path("tools/draft/", tools.tools_draft, name="tools_draft"),
    path("posture/", autonomy.posture, name="posture"),
    path("posture/apply/", autonomy.posture_apply, name="posture_apply"),
    path("posture/undo/", autonomy.posture_undo, name="posture_undo"),
    path("templates/", posture.templates, name="templates"),
    path("templates/<str:template>/apply/", posture.template_apply, name="template_apply"),
    path("events/", events.events, name="events"),
    path("events/live/", live.live, name="events_live"),
    path("events/<uuid:pk>/", events.event, name="event"),
    path("events/<uuid:pk>/<int:place>/", events.event, name="event_tool"),
    path("policies/", policies.policies, name="policies"),
    path("policies/new/", policies.policy_new, name="policy_new"),
    path("policies/import/", history.policy_import, name="policy_import"),
    path("policies/<str:pk>/", policies.policy, name="policy"),
    path("policies/<str:pk>/rule-words/", typed.rule_words, name="rule_words"),
    path("policies/<str:pk>/rule-json/", typed.rule_json_typed, name="rule_json"),
    path("policies/<str:pk>/set/", policies.policy_set, name="policy_set"),
    path("policies/<str:pk>/shadow/", shadow.shadow_report, name="shadow_report"),
    path("policies/<str:pk>/delete/", policies.policy_delete, name="policy_delete"),
    path("policies/<str:pk>/history/", history.policy_history, name="policy_history"),
    path("policies/<str:pk>/restore/", history.policy_restore, name="policy_restore"),
    path("policies/<str:pk>/fork/", history.policy_fork, name="policy_fork"),
    path("policies/<str:pk>/export/", history.policy_export, name="policy_export"),
    path("policies/<str:pk>/import/", history.policy_import, name="policy_replace"),
    path("policies/<str:pk>/rules/", edits.rule_add, name="rule_add"),
    path("policies/<str:pk>/rules/order/", edits.rules_order, name="rules_order"),
    path("policies/<str:pk>/rules/<str:rule>/", edits.rule_change, name="rule_change"),
    path("policies/<str:pk>/rules/<str:rule>/delete/", edits.rule_delete, name="rule_delete"),
    path("policies/<str:pk>/rules/<str:rule>/switch/", edits.rule_switch, name="rule_switch"),
    path("policies/<str:pk>/rules/<str:rule>/duplicate/", edits.rule_duplicate, name="rule_duplicate"),
]
