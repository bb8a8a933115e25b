"""What a policy in shadow would have stopped, and the way to let it."""

from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from firewall.console.policies import found_policy
from firewall.selectors.shadow import MAX_DAYS, MOST_COUNTED
from firewall.selectors.shadow import shadow_report as report_of
from workspaces.console_base import ConsoleRequest, page
from workspaces.params import number_of

RANGES = ((1, "24 h"), (7, "7 days"), (30, "30 days"))


@require_GET
@page("firewall.view_shadow_report")
def shadow_report(request: ConsoleRequest, pk: str) -> HttpResponse:
    policy = found_policy(request, pk)
    report = report_of(policy, days=number_of(request.GET.get("days", "7"), "days", most=MAX_DAYS), at=timezone.now())
    return TemplateResponse(request, "firewall/shadow_report.html", {"policy": policy, "report": report, "ranges": RANGES, "most_counted": MOST_COUNTED})
