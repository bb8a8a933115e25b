"""Routes of the firewall's management API."""

from django.urls import path

from firewall.api.autonomy import AutonomyViewSet, SimulateViewSet
from firewall.api.backtests import BacktestViewSet
from firewall.api.events import EventViewSet
from firewall.api.policies import PolicyViewSet, RuleViewSet
from firewall.api.posture import PresetViewSet, TemplateViewSet
from firewall.api.tools import DiscoveredToolViewSet, ShadowReportViewSet, TrialViewSet
from firewall.api.versions import PolicyCopyViewSet, PolicyVersionViewSet
from workspaces.api_base import ITEM

COLLECTION = {"get": "list", "post": "create", "put": "change_named"}

urlpatterns = [
    path("workspace/firewall/policies", PolicyViewSet.as_view(COLLECTION), name="policies"),
    path("workspace/firewall/policies/import", PolicyCopyViewSet.as_view({"post": "import_file"}), name="policy-import"),
    path("workspace/firewall/policies/<str:pk>", PolicyViewSet.as_view(ITEM), name="policy"),
    path("workspace/firewall/policies/<str:pk>/rules/order", PolicyViewSet.as_view({"put": "order"}), name="policy-order"),
    path("workspace/firewall/policies/<str:pk>/versions", PolicyVersionViewSet.as_view({"get": "list"}), name="policy-versions"),
    path("workspace/firewall/policies/<str:pk>/versions/diff", PolicyVersionViewSet.as_view({"get": "diff"}), name="policy-diff"),
    path("workspace/firewall/policies/<str:pk>/versions/<str:number>", PolicyVersionViewSet.as_view({"get": "retrieve"}), name="policy-version"),
    path("workspace/firewall/policies/<str:pk>/restore", PolicyCopyViewSet.as_view({"post": "restore"}), name="policy-restore"),
    path("workspace/firewall/policies/<str:pk>/fork", PolicyCopyViewSet.as_view({"post": "fork"}), name="policy-fork"),
    path("workspace/firewall/policies/<str:pk>/export", PolicyCopyViewSet.as_view({"get": "export"}), name="policy-export"),
    path("workspace/firewall/rules", RuleViewSet.as_view(COLLECTION), name="rules"),
    path("workspace/firewall/rules/<str:pk>", RuleViewSet.as_view(ITEM), name="rule"),
    path("workspace/firewall/presets", PresetViewSet.as_view({"get": "list"}), name="presets"),
    path("workspace/firewall/templates", TemplateViewSet.as_view({"get": "list"}), name="templates"),
    path("workspace/firewall/templates/apply", TemplateViewSet.as_view({"post": "apply"}), name="template-apply"),
    path("workspace/firewall/autonomy", AutonomyViewSet.as_view({"post": "create"}), name="autonomy"),
    path("workspace/firewall/autonomy/undo/<str:pk>", AutonomyViewSet.as_view({"post": "undo"}), name="autonomy-undo"),
    path("workspace/firewall/simulate", SimulateViewSet.as_view({"get": "list"}), name="simulate"),
    path("workspace/firewall/policies/<str:pk>/shadow-report", ShadowReportViewSet.as_view({"get": "retrieve"}), name="shadow-report"),
    path("workspace/firewall/backtests", BacktestViewSet.as_view({"get": "list", "post": "create"}), name="backtests"),
    path("workspace/firewall/backtests/<str:pk>", BacktestViewSet.as_view({"get": "retrieve"}), name="backtest"),
    path("workspace/firewall/backtests/<str:pk>/cancel", BacktestViewSet.as_view({"post": "cancel"}), name="backtest-cancel"),
    path("workspace/firewall/test", TrialViewSet.as_view({"post": "create"}), name="firewall-test"),
    path("workspace/firewall/discovered-tools", DiscoveredToolViewSet.as_view({"get": "list"}), name="discovered-tools"),
    path("workspace/firewall/events", EventViewSet.as_view({"get": "list"}), name="events"),
    path("workspace/firewall/events/by-request/<str:request_id>", EventViewSet.as_view({"get": "of_request"}), name="events-of-request"),
]
