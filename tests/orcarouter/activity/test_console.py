"""Overview, runs, timeline and search as pages."""

import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from orcarouter.activity.selectors import totals
from orcarouter.activity.selectors.runs import Run
from orcarouter.activity.selectors.traces import tools_of
from tests.factories.activity import UsageFactory
from tests.factories.approvals import make_hold, make_holding_policy
from tests.factories.firewall import EventFactory, make_policy
from workspaces import tenancy
from workspaces.permissions import Role

NOW = datetime.now(UTC)


@pytest.fixture
def browser(acme):
    return acme.client(Role.DEVELOPER)


def page(answer, status=200):
    assert answer.status_code == status, answer.content[:2000]
    return re.sub(r"\s+", " ", answer.content.decode())


def test_a_new_workspace_is_led_to_its_first_call(acme, browser):
    assert "No policy in force" in page(browser.get("/"))
    assert browser.get("/?waiting=1", headers={"HX-Request": "true"}).status_code == 204

    make_policy(acme.workspace, acme.person(Role.DEVELOPER), is_default=True)
    assert "A policy judges calls." in page(browser.get("/"))

    UsageFactory(workspace=acme.workspace)
    assert browser.get("/?waiting=1", headers={"HX-Request": "true"}).headers["HX-Redirect"] == "/"
    assert "Top tools" in page(browser.get("/"))


@pytest.mark.parametrize("chosen", list(totals.RANGES))
def test_figures_are_the_sums_of_their_rows(acme, rival, browser, chosen):
    chance = random.Random(5)
    length, step = totals.RANGES[chosen]
    stretch = totals.Stretch.ending(NOW, length, step)
    rows = [NOW - timedelta(seconds=chance.randrange(int(length.total_seconds() * 1.2))) for _ in range(60)]
    costs = [chance.choice([None, 0, 2_000]) for _ in rows]
    for at, cost in zip(rows, costs, strict=True):
        UsageFactory(workspace=acme.workspace, at=at, cost_micro_usd=cost)
        EventFactory(workspace=acme.workspace, at=at, verdict="deny", tool_name="a.b")
        EventFactory(workspace=acme.workspace, at=at, verdict="allow", surface="inbound", tool_name=None, tools=["a", "b", "c"])
    UsageFactory(workspace=rival.workspace)

    with tenancy.scope(acme.workspace.pk):
        found = totals.totals(acme.workspace, stretch)
        tools = totals.top_tools(acme.workspace, stretch)

    inside = [(at, cost) for at, cost in zip(rows, costs, strict=True) if stretch.since <= at < stretch.until]
    assert found.calls == len(inside)
    assert found.cost_micro_usd == sum(cost or 0 for _, cost in inside)
    assert found.unpriced_calls == sum(cost is None for _, cost in inside)
    assert found.verdicts == {"deny": len(inside), "allow": 3 * len(inside)}
    assert [bucket.calls for bucket in found.buckets] == [sum(start <= at < start + step for at, _ in inside) for start in stretch.starts]
    assert [(tool.name, tool.count, tool.denied) for tool in tools] == [("a.b", len(inside), len(inside))]
    assert tools[0].per_bucket == [bucket.calls for bucket in found.buckets]
    assert f"{len(inside)}" in page(browser.get("/", {"range": chosen}))


def test_the_most_called_and_the_most_denied_tools_are_told_with_their_main_reason(acme):
    chance = random.Random(7)
    stretch = totals.Stretch.ending(NOW, *totals.RANGES["24h"])
    reasons = [("no shell", "matched shell.*"), ("", "not on the list"), ("", "over its cap")]
    told = []
    for _ in range(120):
        tool, verdict, (label, reason) = f"tool{min(chance.randrange(9), chance.randrange(9))}", chance.choice(["allow", "deny"]), chance.choice(reasons)
        at = NOW - timedelta(hours=chance.randrange(22))
        EventFactory(workspace=acme.workspace, at=at, surface="response", tool_name=tool, verdict=verdict, rule_label=label, reason=reason)
        told.append((tool, verdict, label or reason))
    # Said about calls that are counted: none of them is another.
    for code in ("sequence", "approval_approved", "approval_expired"):
        EventFactory(workspace=acme.workspace, at=NOW, surface="response", tool_name="tool0", verdict="audit", reason_code=code)
    with tenancy.scope(acme.workspace.pk):
        called, denied = totals.top_tools(acme.workspace, stretch), totals.most_denied(acme.workspace, stretch)

    def most(count: Counter) -> list:
        return sorted(count.items(), key=lambda item: (-item[1], item[0]))[: totals.TOP]

    refused = Counter(tool for tool, verdict, _ in told if verdict == "deny")
    assert [(tool.name, tool.count) for tool in called] == most(Counter(tool for tool, *_ in told))
    assert [sum(tool.per_bucket) for tool in called] == [tool.count for tool in called]
    assert [tool.denied for tool in called] == [refused[tool.name] for tool in called]
    assert [(tool.name, tool.count) for tool in denied] == most(refused)
    for tool in denied:
        why = Counter(reason for name, verdict, reason in told if (name, verdict) == (tool.name, "deny"))
        assert why[tool.reason] == max(why.values())


def test_an_unknown_price_is_never_a_zero(acme, browser):
    UsageFactory(workspace=acme.workspace, agent_run_id="dear", cost_micro_usd=None)

    assert "<dd>unknown</dd>" in page(browser.get("/"))
    for path in ("/runs/", "/runs/1/dear/"):
        shown = page(browser.get(path))
        assert "unknown" in shown
        assert "$0" not in shown


def test_a_run_is_listed_and_opens_as_a_timeline(acme, browser):
    call = UsageFactory(workspace=acme.workspace, agent_run_id="trip", at=NOW - timedelta(minutes=2), cost_micro_usd=12_345, latency_ms=2_500)
    shared = {"workspace": acme.workspace, "agent_run_id": "trip", "request_id": call.request_id, "at": NOW - timedelta(minutes=2)}
    EventFactory(**shared, surface="inbound", tool_name=None, tools=["web.search", "kb.read"])
    denied = EventFactory(**shared, tool_name="shell.exec", verdict="deny", args_summary='{"command": "rm -rf /"}')

    listed, opened = page(browser.get("/runs/?verdict=deny")), page(browser.get("/runs/1/trip/"))

    assert "/runs/1/trip/" in listed
    for words in ("2 tools offered", "web.search, kb.read", "shell.exec", "rm -rf /", "$0.0123", "2.5 s", "120", f"/events/{denied.pk}/"):
        assert words in opened, words


def test_a_run_tells_what_its_tools_did_and_narrows_to_calls_and_denials(acme, browser):
    shared = {"workspace": acme.workspace, "agent_run_id": "trip", "request_id": UsageFactory(workspace=acme.workspace, agent_run_id="trip").request_id}
    EventFactory(**shared, surface="inbound", tool_name=None, tools=["web.search", "kb.read", "x" * 128], verdict="allow")
    EventFactory(**shared, surface="response", tool_name="web.search", verdict="allow", args_summary='{"q": "tides"}')
    EventFactory(**shared, surface="response", tool_name="shell.exec", verdict="deny", args_summary='{"command": "rm"}')
    of_run = Run(id="trip", key_id=1)

    with tenancy.scope(acme.workspace.pk):
        uses = [(use.name[:10], use.offered, use.called, use.denied) for use in tools_of(acme.workspace, of_run)]
    assert uses == [("shell.exec", 0, 1, 1), ("web.search", 1, 1, 0), ("kb.read", 1, 0, 0), ("x" * 10, 1, 0, 0)]
    everything, called, denied = (page(browser.get("/runs/1/trip/", {"show": show})) for show in ("", "called", "denied"))
    assert [words in everything for words in ("Model call", "3 tools offered", "tides", ">rm<")] == [True] * 4
    assert [words in called for words in ("Model call", "3 tools offered", "tides", ">rm<")] == [False, False, True, True]
    assert [words in denied for words in ("Model call", "3 tools offered", "tides", ">rm<")] == [False, False, False, True]


def test_a_run_of_many_tools_names_a_hundred_and_counts_the_rest(acme, browser):
    EventFactory(workspace=acme.workspace, agent_run_id="trip", surface="inbound", tool_name=None, tools=[f"tool_{number:03}" for number in range(130)])
    shown = page(browser.get("/runs/1/trip/"))
    assert "120 more tools" in shown
    assert "and 30 more, in the" in shown
    assert ("tool_name=tool_099" in shown, "tool_name=tool_100" in shown) == (True, False)


def test_a_failed_call_says_so_in_words(acme, browser):
    UsageFactory(workspace=acme.workspace, agent_run_id="trip", outcome="failed", error_code="upstream_error")

    assert "failed: provider error" in page(browser.get("/runs/1/trip/"))


def test_overview_is_for_members_and_runs_for_developers(acme):
    UsageFactory(workspace=acme.workspace, agent_run_id="trip")
    member = acme.client(Role.MEMBER)

    shown = page(member.get("/"))
    assert 'href="/events/' not in shown
    assert [member.get(path).status_code for path in ("/runs/", "/runs/1/trip/")] == [403, 403]


def test_another_workspaces_run_is_missing(rival, browser):
    UsageFactory(workspace=rival.workspace, agent_run_id="theirs")

    assert browser.get("/runs/1/theirs/").status_code == 404
    assert "theirs" not in page(browser.get("/runs/"))


def test_search_finds_by_name_part_and_id_what_the_role_may_read(acme, rival, browser):
    make_policy(acme.workspace, acme.person(Role.DEVELOPER), {"verdict": "deny", "tool_name_glob": "needle.*"}, name="needle policy")
    make_policy(rival.workspace, rival.person(Role.OWNER), name="needle elsewhere")
    event = EventFactory(workspace=acme.workspace, tool_name="needle.cut", agent_run_id="needle-run")
    UsageFactory(workspace=acme.workspace, agent_run_id="needle-run")

    found = page(browser.get("/search/", {"q": "needle"}))
    assert all(words in found for words in ("needle policy", "needle.*", "needle.cut", "/runs/1/needle-run/"))
    assert "elsewhere" not in found
    assert f"request_id={event.request_id}" in page(browser.get("/search/", {"q": event.request_id}))

    member = page(acme.client(Role.MEMBER).get("/search/", {"q": "needle"}))
    assert "needle policy" in member
    assert "needle.cut" not in member
    assert "needle-run" not in member


@pytest.mark.parametrize(
    "path", ["/?range=1y", "/?environment=%00", "/runs/?verdict=maybe", "/runs/?key_id=x", "/runs/?cursor=x", "/runs/?environment=%00", "/runs/1/trip/?show=x"]
)
def test_a_parameter_that_says_nothing_usable_is_a_bad_request(acme, browser, path):
    UsageFactory(workspace=acme.workspace, agent_run_id="trip")
    assert browser.get(path).status_code == 400


@pytest.mark.parametrize("q", ["", "\x00", "%", "****", "sk-orca-a1b2****yz90", "x" * 5000, "\u202e"])
def test_any_text_can_be_searched_for(browser, q):
    assert browser.get("/search/", {"q": q}).status_code == 200


def test_a_run_that_waits_for_a_person_says_so_and_leads_there(acme, browser):
    hold = make_hold(make_holding_policy(acme), run="paying")
    for run in ("paying", "reading"):
        UsageFactory(workspace=acme.workspace, key_id=7, agent_run_id=run, at=NOW - timedelta(hours=2))

    assert page(browser.get("/runs/")).count("Waits</span>") == 1
    shown = page(browser.get("/runs/7/paying/"))
    assert f'href="/approvals/{hold.pk}/">payments.transfer</a> waits for approval.' in shown
    assert "Waits for a person" in shown
    assert 'hx-trigger="every 2s"' in shown
    assert "A person decides" not in page(browser.get("/runs/7/reading/"))

    browser.post(f"/approvals/{hold.pk}/decide/", {"decision": "approved", "reason": "invoice seen"})
    shown = page(browser.get("/runs/7/paying/"))
    assert "A person decides" not in shown
    assert f"approved by {acme.person(Role.DEVELOPER).email}: invoice seen" in shown
    event = acme.workspace.events.filter(approval_id=hold.pk).first()
    assert f'href="/approvals/{hold.pk}/"' in page(browser.get(f"/events/{event.pk}/"))


def test_a_call_for_which_no_model_was_asked_is_not_called_one(acme, browser):
    of_run = {"workspace": acme.workspace, "key_id": 7, "agent_run_id": "paying"}
    UsageFactory(**of_run, request_id="req_1", outcome="blocked", status=400, error_code="firewall_approval_pending", usage_source="none")
    UsageFactory(**of_run, request_id="req_2", usage_source="none")
    EventFactory(**of_run, request_id="req_2", tool_name="payments.transfer", reason_code="approval_consumed")
    shown = page(browser.get("/runs/7/paying/"))
    assert re.findall(r"<b>(Held call|Kept answer|Model call)</b>", shown) == ["Held call", "Kept answer"]


def test_the_chart_of_decisions_draws_what_was_decided(acme, browser):
    for verdict, times in {"allow": 3, "pending_approval": 2, "sanitize": 2, "deny": 2, "observe": 2, "audit": 1}.items():
        for _ in range(times):
            EventFactory(workspace=acme.workspace, verdict=verdict, tool_name="a.b")
    UsageFactory(workspace=acme.workspace)
    figure = page(browser.get("/")).split("</figure>")[0]
    assert re.findall(r'data-series="(\w+)"', figure) == ["allow", "sanitize", "pending", "deny", "observe"]
