"""Budgets and own prices over HTTP and as pages, and the Admins who are told: once for each part of a month."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from django.core import mail
from django.db import connections
from django.utils import timezone

from keys import budget_services, selectors, tasks
from keys.engine.grant import Price, Tier
from tests.factories.activity import LedgerFactory
from tests.factories.keys import make_key, make_provider
from tests.factories.workspaces import make_tenant
from tests.keys.conftest import refusal
from workspaces import tenancy, vault
from workspaces.permissions import Role

BUDGETS, PRICES = "/api/workspace/budgets/", "/api/workspace/prices/"


# --- Budgets --------------------------------------------------------------------------------------------------------
def test_a_budget_is_set_told_changed_and_removed(acme, admin):
    person = acme.person(Role.DEVELOPER)
    key, plaintext = make_key(acme)
    whole = admin("POST", BUDGETS, {"limit_usd": 10})
    theirs = admin("POST", BUDGETS, {"limit_usd": 2.5, "member_id": person.pk})
    assert (whole.status_code, theirs.status_code) == (201, 201)
    LedgerFactory(workspace=acme.workspace, key_id=key.pk, member_id=person.pk, spent_micro_usd=700)
    LedgerFactory(workspace=acme.workspace, key_id=key.pk + 1, member_id=None, spent_micro_usd=50)
    shown = {row["member"]: row for row in admin("GET", BUDGETS).json()["results"]}
    assert (shown[None]["limit_usd"], shown[None]["spent_micro_usd"]) == (10, 750)
    assert (shown[person.email]["limit_usd"], shown[person.email]["spent_micro_usd"]) == (2.5, 700)
    assert shown[None]["resets_at"].endswith("-01T00:00:00Z")
    assert admin("POST", BUDGETS, {"limit_usd": 11}).json()["id"] == whole.json()["id"]
    path = f"{BUDGETS}{whole.json()['id']}/"
    assert admin("PUT", path, {**admin("GET", path).json(), "limit_usd": 12}).json()["limit_usd"] == 12
    limits = selectors.load_grant(vault.lookup_hash(plaintext)).limits
    assert (limits.workspace_month_micro_usd, limits.member_month_micro_usd) == (12_000_000, 2_500_000)
    assert admin("DELETE", path).status_code == 204
    assert admin("GET", path).status_code == 404
    with tenancy.scope(acme.workspace.pk):
        made = list(acme.workspace.audit_entries.filter(action__startswith="budget").order_by("id").values_list("action", flat=True))
    assert made == ["budget_update"] * 4 + ["budget_delete"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, (400, "validation_error", "limit_usd")),
        ({"limit_usd": -1}, (400, "validation_error", "limit_usd")),
        ({"limit_usd": "5"}, (400, "validation_error", "limit_usd")),
        ({"limit_usd": None}, (400, "validation_error", "limit_usd")),
        ({"limit_usd": 1, "member_id": 0}, (400, "validation_error", "member_id")),
        ({"limit_usd": 1, "member_id": 999_999_999}, (404, "not_found", "member_id")),
        ({"limit_usd": 1, "cap": 5}, (400, "validation_error", "cap")),
    ],
)
def test_a_wrong_budget_is_told_what_is_wrong(admin, body, found):
    assert refusal(admin("POST", BUDGETS, body)) == found


def test_a_budget_is_for_people_of_this_workspace_and_stays_theirs(acme, rival, admin):
    assert refusal(admin("POST", BUDGETS, {"limit_usd": 1, "member_id": rival.person(Role.MEMBER).pk})) == (404, "not_found", "member_id")
    made = admin("POST", BUDGETS, {"limit_usd": 1}).json()
    other = {"member_id": acme.person(Role.MEMBER).pk}
    assert refusal(admin("PATCH", f"{BUDGETS}{made['id']}/", other)) == (400, "validation_error", "member_id")


# --- Being told -----------------------------------------------------------------------------------------------------
def spend(tenant, micro_usd: int) -> None:
    LedgerFactory(workspace=tenant.workspace, spent_micro_usd=micro_usd)


@pytest.fixture
def letters(acme, mailoutbox):
    """Those of this workspace: what other tests committed may have a budget too, whose letters leave first."""
    tasks.watch_budgets()
    return lambda: [letter for letter in mailoutbox if letter.subject.startswith("acme: ")]


def test_admins_are_told_of_each_part_once_a_month(acme, admin, letters):
    admin("POST", BUDGETS, {"limit_usd": 1})
    told = lambda: [message.subject for message in letters()]  # noqa: E731
    spend(acme, 499_999)
    tasks.watch_budgets()
    assert told() == []
    spend(acme, 1)
    for _ in range(3):
        tasks.watch_budgets()
    assert told() == ["acme: 50 % of the workspace's budget is spent"]
    assert letters()[0].to == sorted([acme.person(Role.ADMIN).email, acme.person(Role.OWNER).email], key=lambda email: "admin" in email)
    assert "$0.50 of $1" in letters()[0].body
    spend(acme, 600_000)
    for _ in range(2):
        tasks.watch_budgets()
    assert told()[1:] == ["acme: 100 % of the workspace's budget is spent"]
    assert "refused" in letters()[1].body
    assert admin("GET", BUDGETS).json()["results"][0]["notified_percent"] == 100


def test_a_member_is_told_of_their_own_budget_and_of_no_other(acme, admin, letters):
    person, other = acme.person(Role.DEVELOPER), acme.person(Role.MEMBER)
    admin("POST", BUDGETS, {"limit_usd": 1, "member_id": person.pk})
    admin("POST", BUDGETS, {"limit_usd": 1, "member_id": other.pk})
    LedgerFactory(workspace=acme.workspace, member_id=person.pk, spent_micro_usd=800_000)
    tasks.watch_budgets()
    assert [message.subject for message in letters()] == [f"acme: 80 % of {person.email}'s budget is spent"]
    assert set(letters()[0].to) == {acme.person(Role.OWNER).email, acme.person(Role.ADMIN).email, person.email}


def test_a_budget_tells_when_the_months_pace_reaches_it(acme, admin, time_machine):
    time_machine.move_to(datetime(2026, 11, 16, tzinfo=UTC), tick=False)
    made = admin("POST", BUDGETS, {"limit_usd": 2}).json()
    assert made["reached_at"] is None
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.ledger_days.create(day=date(2026, 11, 10), key_id=1, member_id=0, spent_micro_usd=1_500_000)
    assert admin("GET", f"{BUDGETS}{made['id']}/").json()["reached_at"] == "2026-11-21T00:00:00Z"
    assert "At this month's pace it is reached" in acme.client(Role.ADMIN).get("/budgets/").content.decode()
    assert admin("PATCH", f"{BUDGETS}{made['id']}/", {"limit_usd": 5}).json()["reached_at"] is None


def test_the_next_month_tells_anew(acme, admin, letters, clock):
    admin("POST", BUDGETS, {"limit_usd": 1})
    spend(acme, 900_000)
    tasks.watch_budgets()
    clock.shift(32 * 24 * 3600)
    tasks.watch_budgets()
    assert len(letters()) == 1
    spend(acme, 900_000)
    tasks.watch_budgets()
    assert [message.subject for message in letters()] == ["acme: 80 % of the workspace's budget is spent"] * 2


def test_a_letter_that_does_not_leave_is_sent_at_the_next_look(acme, admin, letters, settings):
    admin("POST", BUDGETS, {"limit_usd": 1})
    spend(acme, 600_000)
    in_memory, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    tasks.watch_budgets()
    settings.EMAIL_BACKEND = in_memory
    tasks.watch_budgets()
    tasks.watch_budgets()
    assert len(letters()) == 1


def test_a_worker_that_dies_while_it_writes_loses_no_letter(acme, admin, letters, clock, monkeypatch):
    admin("POST", BUDGETS, {"limit_usd": 1})
    spend(acme, 600_000)
    with monkeypatch.context() as dying:
        dying.setattr(budget_services, "send_mail", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            tasks.watch_budgets()
    # It may still be writing.
    tasks.watch_budgets()
    assert letters() == []
    clock.shift(budget_services.CLAIM_SECONDS + 1)
    for _ in range(2):
        tasks.watch_budgets()
    assert [message.subject for message in letters()] == ["acme: 50 % of the workspace's budget is spent"]


def test_two_workers_at_once_tell_once(committed):
    tenant = make_tenant()
    with tenancy.scope(tenant.workspace.pk):
        tenant.workspace.budgets.create(limit_micro_usd=10)
    spend(tenant, 5)
    at = timezone.now()

    def look(_):
        try:
            with tenancy.scope(tenant.workspace.pk):
                budget_services.note_thresholds(tenant.workspace, at=at)
            with tenancy.scope(tenant.workspace.pk):
                return len(budget_services.claim(tenant.workspace, at=at))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        won = sum(pool.map(look, range(12)))
    with tenancy.scope(tenant.workspace.pk):
        (claimed_at,) = tenant.workspace.budget_notices.values_list("claimed_at", flat=True)
    # Or none of them, if a worker that looks on its own was there first.
    assert won == (claimed_at == at)
    assert mail.outbox == []


# --- Prices ---------------------------------------------------------------------------------------------------------
PRICE = {
    "model": "gpt-4o",
    "input_per_million_usd": 2.5,
    "output_per_million_usd": 10,
    "cached_input_per_million_usd": 1.25,
    "cache_write_per_million_usd": None,
    "reasoning_per_million_usd": 12,
    "input_audio_per_million_usd": None,
    "output_audio_per_million_usd": None,
    "per_request_usd": 0.001,
    "tools": {"web_search": 0.01},
    "tiers": [{"above_input_tokens": 200_000, "input_per_million_usd": 5, "output_per_million_usd": None, "cached_input_per_million_usd": None}],
    "default_output_tokens": 800,
}


def test_a_price_is_kept_as_written_and_is_the_gateways_from_the_next_call_on(acme, admin):
    make_provider(acme)
    _, plaintext = make_key(acme)
    made = admin("POST", PRICES, PRICE)
    assert made.status_code == 201
    assert {name: value for name, value in made.json().items() if name not in ("id", "updated_at")} == PRICE
    price = selectors.load_grant(vault.lookup_hash(plaintext)).models["gpt-4o"][0].price
    assert price == Price(2_500_000, 10_000_000, 1_250_000, None, 12_000_000, None, None, 1_000, (("web_search", 10_000),), (Tier(200_000, 5_000_000),), 800)
    path = f"{PRICES}{made.json()['id']}/"
    assert admin("PATCH", path, {"tiers": [], "input_per_million_usd": None}).json()["tiers"] == []
    assert admin("PUT", path, admin("GET", path).json()).status_code == 200
    assert refusal(admin("PATCH", path, {"model": "other"})) == (400, "validation_error", "model")
    assert refusal(admin("POST", PRICES, PRICE)) == (409, "conflict", "model")
    assert admin("DELETE", path).status_code == 204
    assert admin("GET", PRICES).json()["results"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": ""}, "model"),
        ({"input_per_million_usd": -1}, "input_per_million_usd"),
        ({"input_per_million_usd": 1e12}, "input_per_million_usd"),
        ({"per_request_usd": None}, "per_request_usd"),
        ({"tools": {"web_search": "dear"}}, "tools.web_search"),
        ({"tools": []}, "tools"),
        ({"tiers": [{"input_per_million_usd": 1}]}, "tiers.0.above_input_tokens"),
        ({"tiers": [{"above_input_tokens": 5}, {"above_input_tokens": 5}]}, "tiers"),
        ({"default_output_tokens": 0}, "default_output_tokens"),
        ({"price": 1}, "price"),
    ],
)
def test_a_wrong_price_is_told_what_is_wrong(admin, body, param):
    assert refusal(admin("POST", PRICES, {"model": "m"} | body)) == (400, "validation_error", param)


# --- Pages ----------------------------------------------------------------------------------------------------------
def text_of(answer, status: int = 200) -> str:
    assert answer.status_code == status, answer.content[:800]
    return " ".join(answer.content.decode().split())


def test_a_higher_budget_is_asked_about_and_a_lower_one_is_not(acme):
    browser, person = acme.client(Role.ADMIN), acme.person(Role.DEVELOPER)
    assert browser.post("/budgets/", {"whose": "", "limit": "5"}).status_code == 302
    assert browser.post("/budgets/", {"whose": person.pk, "limit": "1"}).status_code == 302
    assert "$6 a month may be spent, $5 until now." in text_of(browser.post("/budgets/", {"whose": "", "limit": "6"}), 422)
    assert browser.post("/budgets/", {"whose": "", "limit": "6", "confirmed": "1"}).status_code == 302
    assert browser.post("/budgets/", {"whose": "", "limit": "4.5"}).status_code == 302
    for wrong in ({"limit": "-1"}, {"limit": ""}, {"limit": "x"}, {"limit": "1", "whose": "999999999"}):
        assert browser.post("/budgets/", wrong).status_code == 422
    page = text_of(browser.get("/budgets/"))
    assert "$0.00 spent and $0.00 reserved of $4.50" in page
    assert person.email in page


def test_what_admins_are_told_stands_in_the_console_too(acme, mailoutbox):
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.budgets.create(limit_micro_usd=100)
    make_key(acme)
    spend(acme, 85)
    tasks.watch_budgets()
    assert "80 % of the workspace's budget is spent this month" in text_of(acme.client(Role.ADMIN).get("/usage/")).replace("&#x27;", "'")
    assert "% of the workspace" not in text_of(acme.client(Role.DEVELOPER).get("/usage/"))


TOOLS = "/api/workspace/tool-prices/"


def test_prices_of_tools_are_set_all_at_once_and_are_the_gateways_from_the_next_call_on(acme, admin):
    _, plaintext = make_key(acme)
    assert admin("GET", TOOLS).json() == {"prices": {}}
    assert admin("PUT", TOOLS, {"prices": {"maps.*": 0.01, "web.search": 0.0000001}}).json() == {"prices": {"maps.*": 0.01, "web.search": 0.000001}}
    prices = selectors.load_grant(vault.lookup_hash(plaintext)).tool_prices
    assert (prices.price("maps.route"), prices.price("web__search"), prices.price("other")) == (10_000, 1, 0)
    for _ in range(2):
        assert admin("PUT", TOOLS, {"prices": {"maps.*": 0.02}}).json() == {"prices": {"maps.*": 0.02}}
    with tenancy.scope(acme.workspace.pk):
        told = [entry.payload["tools"] for entry in acme.workspace.audit_entries.filter(action="price_update").order_by("id")]
    assert told[1] == {"maps.*": {"from": 10_000, "to": 20_000}, "web.search": {"from": 1, "to": None}}
    assert len(told) == 2
    assert selectors.load_grant(vault.lookup_hash(plaintext)).tool_prices.price("web.search") == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prices"),
        ({"prices": []}, "prices"),
        ({"prices": {"a": -1}}, "prices.a"),
        ({"prices": {"a": "1"}}, "prices.a"),
        ({"prices": {"": 1}}, "prices."),
        ({"prices": {"x" * 129: 1}}, "prices." + "x" * 125 + "..."),
        ({"prices": {f"t{number}": 1 for number in range(501)}}, "prices"),
    ],
)
def test_a_wrong_price_of_a_tool_is_told_what_is_wrong(admin, body, param):
    assert refusal(admin("PUT", TOOLS, body)) == (400, "validation_error", param)


def test_prices_of_tools_are_typed_as_lines(acme):
    browser = acme.client(Role.ADMIN)
    assert browser.post("/prices/tools/", {"prices": "maps.* = 0.01\nweb.search = 0.5"}).status_code == 302
    assert "maps.* = 0.01 web.search = 0.5" in text_of(browser.get("/prices/tools/"))
    for wrong in ("maps.*", "a = x", "a = 1\na = 2", f"{'x' * 129} = 1"):
        assert browser.post("/prices/tools/", {"prices": wrong}).status_code == 422
    assert browser.post("/prices/tools/", {"prices": ""}).status_code == 302
    assert "maps" not in browser.get("/prices/tools/").context["form"]["prices"].value()


def test_prices_are_typed_as_lines(acme):
    browser = acme.client(Role.ADMIN)
    typed = {"model": "m", "input": "2.5", "tools": "web_search = 0.01\n", "tiers": "200000 = 6 / 22.50\n400000 = 7", "per_request": ""}
    assert browser.post("/prices/new/", typed).status_code == 302
    with tenancy.scope(acme.workspace.pk):
        made = acme.workspace.price_overrides.get()
    assert (made.input_per_million_micro_usd, made.output_per_million_micro_usd, made.tools) == (2_500_000, None, {"web_search": 10_000})
    assert made.tiers[0] == {"above_input_tokens": 200_000, "input_per_million_micro_usd": 6_000_000, "output_per_million_micro_usd": 22_500_000}
    page = text_of(browser.get(f"/prices/{made.pk}/"))
    assert "200000 = 6 / 22.5 400000 = 7" in page
    assert "already" in text_of(browser.post("/prices/new/", typed), 422)
    for wrong in ({"tools": "web_search"}, {"tiers": "many = 1"}, {"tiers": "5 = 1\n5 = 2"}, {"tools": "a = inf"}, {"input": "-1"}, {"tiers": "1 = 1/2/3/4"}):
        assert browser.post(f"/prices/{made.pk}/", {"input": "1"} | wrong).status_code == 422
    assert browser.post(f"/prices/{made.pk}/delete/").status_code == 302
    assert "No price of your own" in text_of(browser.get("/prices/"))


@pytest.mark.parametrize("model", ["gpt-*", "gpt\u200b-4o", "a\tb", "\u202ea"])
def test_a_name_that_no_agent_asks_for_has_no_price(model, acme, admin):
    assert refusal(admin("POST", PRICES, {"model": model, "input_per_million_usd": 1})) == (400, "validation_error", "model")
    page = acme.client(Role.ADMIN).post("/prices/new/", {"model": model, "input": "1"})
    assert page.status_code == 422
    assert "and no pattern" in page.content.decode()


def test_a_tier_has_a_price(acme, admin):
    assert refusal(admin("POST", PRICES, {"model": "m", "tiers": [{"above_input_tokens": 5, "input_per_million_usd": None}]})) == (
        400,
        "validation_error",
        "tiers",
    )
    page = acme.client(Role.ADMIN).post("/prices/new/", {"model": "m", "tiers": "5 = /"})
    assert page.status_code == 422


def test_a_lower_price_is_asked_about_and_a_higher_one_is_not(acme, admin):
    made = admin("POST", PRICES, {"model": "m", "input_per_million_usd": 2.5, "per_request_usd": 1}).json()
    browser, path = acme.client(Role.ADMIN), f"/prices/{made['id']}/"
    asked = browser.post(path, {"input": "1", "per_request": "2"})
    assert asked.status_code == 422
    assert "Input: $1, $2.50 until now." in asked.content.decode()
    assert admin("GET", f"{PRICES}{made['id']}/").json()["input_per_million_usd"] == 2.5
    assert browser.post(path, {"input": "1", "per_request": "2", "confirmed": "1"}).status_code == 302
    assert browser.post(path, {"input": "3", "per_request": "2"}).status_code == 302
    assert browser.post(path, {"input": "3"}).status_code == 422
    assert admin("GET", f"{PRICES}{made['id']}/").json()["per_request_usd"] == 2
