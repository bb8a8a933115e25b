"""The list of keys: what narrows it, its export, and what is done to several at once."""

import csv
import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from keys.api.keys import CHUNK
from tests.factories.activity import LedgerFactory, UsageFactory
from tests.factories.firewall import make_policy
from tests.factories.keys import make_key
from tests.keys.conftest import refusal
from workspaces import tenancy
from workspaces.permissions import Role

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=90)


@pytest.fixture
def keys(acme) -> dict:
    """Keys by their name: with and without a ceiling, used and unused."""
    made = {
        "for life": make_key(acme, name="for life", at=LONG_AGO, credit_limit_micro_usd=5)[0],
        "each week": make_key(acme, name="each week", at=LONG_AGO, cycle_limit_micro_usd=5, cycle="week")[0],
        "open": make_key(acme, name="open", at=LONG_AGO)[0],
        "new": make_key(acme, name="new", at=NOW - timedelta(days=29))[0],
    }
    # One was used of late; of another only the note with the key remembers it; the third was used before the stretch.
    UsageFactory(workspace=acme.workspace, key_id=made["for life"].pk, at=NOW - timedelta(days=2))
    UsageFactory(workspace=acme.workspace, key_id=made["open"].pk, at=NOW - timedelta(days=31))
    with tenancy.scope(acme.workspace.pk):
        acme.workspace.api_keys.filter(pk=made["each week"].pk).update(accessed_at=NOW - timedelta(days=40))
    return made


def names(answer) -> set[str]:
    assert answer.status_code == 200, answer.content[:500]
    return {row["name"] for row in answer.json()["results"]}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("has_ceiling=false", {"open", "new"}),
        ("has_ceiling=true", {"for life", "each week"}),
        ("unused_days=30", {"each week", "open"}),
        ("unused_days=41", set()),
        ("unused_days=1", {"for life", "each week", "open", "new"}),
        ("unused_days=30&has_ceiling=false", {"open"}),
    ],
)
def test_keys_are_found_by_their_ceiling_and_their_last_use(query, found, keys, developer):
    assert names(developer("GET", f"/api/token/?{query}")) == found


@pytest.mark.parametrize("query", ["has_ceiling=no", "unused_days=0", "unused_days=366", "unused_days=0000030000", "unused_days=x", "unused_days=²"])
def test_a_wrong_filter_is_named(query, developer):
    assert refusal(developer("GET", f"/api/token/?{query}")) == (400, "validation_error", query.partition("=")[0])
    assert refusal(developer("GET", f"/api/token/export/?{query}")) == (400, "validation_error", query.partition("=")[0])


def test_the_page_counts_and_narrows_by_them(keys, acme):
    browser = acme.client(Role.DEVELOPER)
    page = " ".join(browser.get("/keys/").content.decode().split())
    assert 'href="?ceiling=none">Without a ceiling <b>2</b>' in page
    assert 'href="?unused=30">Unused for 30 days <b>2</b>' in page
    for query, shown in (("ceiling=none", {"open", "new"}), ("unused=30", {"each week", "open"})):
        table = browser.get(f"/keys/?{query}").content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
        assert {name for name in keys if f">{name}<" in table} == shown
    for query in ("ceiling=any", "unused=0", "state=gone", "policy=x"):
        assert browser.get(f"/keys/?{query}").status_code == 400


# --- The export -----------------------------------------------------------------------------------------------------
def exported(client, query: str) -> str:
    answer = client.get(f"/keys/export/?{query}")
    assert answer.status_code == 200
    return b"".join(answer).decode()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_every_key_that_fits_leaves_masked(acme, developer):
    _, plaintext = make_key(acme, name="=cmd|' /C calc'!A0", environment="prod", model_limits=["a", "b"], allow_ips=["10.0.0.0/8", "192.0.2.1"])
    many = [make_key(acme, name=f"key {number}")[0] for number in range(3)]
    LedgerFactory(workspace=acme.workspace, key_id=many[0].pk, spent_micro_usd=1_000_000)
    browser = acme.client(Role.DEVELOPER)
    rows = {row["name"]: row for row in csv.DictReader(StringIO(exported(browser, "format=csv"), newline=""))}
    assert set(rows) == {"'=cmd|' /C calc'!A0", "key 0", "key 1", "key 2"}
    assert rows["key 0"]["used_quota"] == "500000"
    assert rows["'=cmd|' /C calc'!A0"]["model_limits"] == "a, b"
    narrowed = json.loads(exported(browser, "format=json&environment=prod"))["results"]
    assert narrowed == developer("GET", "/api/token/?environment=prod").json()["results"]
    assert plaintext not in exported(browser, "format=csv") + exported(browser, "format=json")
    assert browser.get("/keys/export/?format=xml").status_code == 400
    assert acme.client(Role.MEMBER).get("/keys/export/").status_code == 403


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_an_export_is_read_in_chunks(acme, django_assert_max_num_queries):
    with tenancy.scope(acme.workspace.pk):
        like = make_key(acme)[0]
        acme.workspace.api_keys.bulk_create(
            type(like)(workspace=acme.workspace, name=f"k{number}", token_hash=f"{number}", token_start="aaaa", token_end="zzzz") for number in range(2 * CHUNK)
        )
    answer = acme.client(Role.DEVELOPER).get("/keys/export/?format=csv")
    with django_assert_max_num_queries(12):
        assert b"".join(answer).decode().count("\n") == 2 * CHUNK + 2


# --- Several at once ------------------------------------------------------------------------------------------------
def stored(acme, *names: str) -> list:
    with tenancy.scope(acme.workspace.pk):
        return list(acme.workspace.api_keys.filter(name__in=names).select_related("firewall_policy").order_by("name"))


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


def test_an_expiry_is_set_for_several_and_asked_about_where_it_is_later(acme):
    make_key(acme, name="a")
    make_key(acme, name="b", expires_at=NOW + timedelta(days=10))
    ids = [key.pk for key in stored(acme, "a", "b")]
    browser = acme.client(Role.DEVELOPER)
    browser.post("/keys/bulk/", {"ids": ids, "action": "expire", "expires": "7d"})
    assert {round((key.expires_at - NOW).total_seconds() / 86400) for key in stored(acme, "a", "b")} == {7}
    asked = text_of(browser.post("/keys/bulk/", {"ids": ids, "action": "expire", "expires": "90d"}))
    assert "Change 2 keys?" in asked
    assert asked.count("It lives until") == 2
    assert {round((key.expires_at - NOW).total_seconds() / 86400) for key in stored(acme, "a", "b")} == {7}
    browser.post("/keys/bulk/", {"ids": ids, "action": "expire", "expires": "90d", "confirmed": "1"})
    assert {round((key.expires_at - NOW).total_seconds() / 86400) for key in stored(acme, "a", "b")} == {90}


def test_a_policy_is_attached_to_several_and_asked_about_where_another_judged(acme, rival):
    strict = make_policy(acme.workspace, acme.person(Role.OWNER), name="strict")
    lax = make_policy(acme.workspace, acme.person(Role.OWNER), name="lax")
    ids = [make_key(acme, name="a")[0].pk, make_key(acme, name="b", firewall_policy=strict)[0].pk]
    browser = acme.client(Role.DEVELOPER)
    asked = text_of(browser.post("/keys/bulk/", {"ids": ids, "action": "attach", "policy": lax.pk}))
    assert "strict no longer judges its tools; lax does." in asked
    assert [key.firewall_policy for key in stored(acme, "a", "b")] == [None, strict]
    browser.post("/keys/bulk/", {"ids": ids, "action": "attach", "policy": lax.pk, "confirmed": "1"})
    assert [key.firewall_policy for key in stored(acme, "a", "b")] == [lax, lax]
    theirs = make_policy(rival.workspace, rival.person(Role.OWNER))
    assert browser.post("/keys/bulk/", {"ids": ids, "action": "attach", "policy": theirs.pk}).status_code == 404


@pytest.mark.parametrize("sent", [{"action": "expire"}, {"action": "expire", "expires": "never"}, {"action": "attach"}, {"action": "attach", "policy": "x"}])
def test_what_is_missing_is_refused_and_nothing_is_changed(sent, acme):
    key = make_key(acme, name="a")[0]
    assert acme.client(Role.DEVELOPER).post("/keys/bulk/", {"ids": key.pk} | sent).status_code == 400
    assert stored(acme, "a")[0].expires_at is None


def test_an_action_that_there_is_not_changes_nothing(acme):
    key = make_key(acme, name="a")[0]
    for sent in ({"ids": key.pk, "action": "sell"}, {"action": "disable"}):
        assert acme.client(Role.DEVELOPER).post("/keys/bulk/", sent).status_code == 302
    assert not stored(acme, "a")[0].is_disabled
