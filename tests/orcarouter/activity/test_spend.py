"""Spend by day, model, environment, key, run and member: the sums, who may see them, and what leaves as a file."""

import csv
import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import httpx2 as httpx
import pytest

from orcarouter.activity.selectors import spend
from tests.factories.activity import UsageFactory
from tests.factories.keys import make_key
from workspaces import exports, tenancy
from workspaces.paging import write_cursor
from workspaces.permissions import Role

USAGE = "/api/workspace/usage/"


@pytest.fixture
def spent(acme, rival):
    """Three calls of two keys over two days, one of unknown price, and a call of others."""
    first, _ = make_key(acme, name="first", environment="prod")
    second, _ = make_key(acme, name="second")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    UsageFactory(workspace=acme.workspace, key_id=first.pk, token_name="first", environment="prod", cost_micro_usd=700, agent_run_id="run-a")
    UsageFactory(workspace=acme.workspace, key_id=first.pk, token_name="first", environment="prod", cost_micro_usd=None, at=yesterday, agent_run_id="run-a")
    UsageFactory(workspace=acme.workspace, key_id=second.pk, token_name="second", cost_micro_usd=50, model_name="demo/large", agent_run_id="run-b")
    UsageFactory(workspace=rival.workspace, cost_micro_usd=1_000_000)
    return first, second


def read(client, **query):
    answer = client.get(USAGE, query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_each_group_has_the_sums_of_its_calls_and_of_nobody_elses(acme, spent):
    first, second = spent
    client = acme.client(Role.DEVELOPER)
    days = read(client, by="day")
    assert [(row["calls"], row["cost_micro_usd"]) for row in days["results"]][-2:] == [(1, None), (2, 750)]
    assert len(days["results"]) == 30
    assert days["total"] | {"prompt_tokens": 0} == {
        "calls": 3,
        "cost_micro_usd": 750,
        "unpriced_calls": 1,
        "prompt_tokens": 0,
        "completion_tokens": 60,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
    }
    assert [(row["model"], row["calls"]) for row in read(client, by="model")["results"]] == [("demo/small", 2), ("demo/large", 1)]
    assert [(row["environment"], row["calls"]) for row in read(client, by="environment")["results"]] == [("prod", 2), ("", 1)]
    by_key = read(client, by="key")["results"]
    assert [(row["key_id"], row["token_name"], row["cost_micro_usd"], row["unpriced_calls"]) for row in by_key] == [
        (first.pk, "first", 700, 1),
        (second.pk, "second", 50, 0),
    ]
    assert [(row["run_id"], row["key_id"], row["calls"]) for row in read(client, by="run")["results"]] == [("run-a", first.pk, 2), ("run-b", second.pk, 1)]
    assert [(row["member"], row["calls"]) for row in read(client, by="member")["results"]] == [(acme.person(Role.DEVELOPER).email, 3)]


@pytest.mark.parametrize("by", spend.GROUPS)
def test_the_total_of_all_groups_is_that_of_all_rows(acme, spent, by):
    """Where nothing has a price too: one group has calls of unknown cost, another calls in which nothing was used, and no sum of them is 0."""
    gone = {"cost_micro_usd": None, "token_name": "gone", "environment": "lost", "agent_run_id": "run-c"}
    UsageFactory(workspace=acme.workspace, key_id=9_001, model_name="x", **gone)
    UsageFactory(workspace=acme.workspace, key_id=9_001, model_name="y", usage_source="none", **gone)
    with tenancy.scope(acme.workspace.pk):
        for narrowed in ({}, {"environment": "lost"}):
            wanted = spend.Wanted.last(30, datetime.now(UTC), **narrowed)
            groups, later = spend.page(acme.workspace, wanted, by, limit=50)
            assert later is None
            assert spend.total_of(groups) == spend.total(acme.workspace, wanted)
        assert spend.total_of(groups).cost_micro_usd is None


def test_filters_narrow_both_the_groups_and_the_total(acme, spent):
    client = acme.client(Role.DEVELOPER)
    assert read(client, by="model", environment="prod")["total"]["calls"] == 2
    assert read(client, by="model", environment="")["total"]["calls"] == 1
    assert read(client, key_id=spent[0].pk)["total"]["calls"] == 2
    assert read(client, model="demo/large")["total"]["cost_micro_usd"] == 50
    today = datetime.now(UTC).date()
    assert read(client, **{"from": today.isoformat()})["total"]["calls"] == 2
    assert read(client, **{"from": (today - timedelta(days=1)).isoformat(), "to": today.isoformat()})["total"]["calls"] == 1


@pytest.mark.parametrize("by", ["model", "key", "run", "member"])
def test_pages_together_are_everything_once(acme, by):
    for number in range(7):
        key, _ = make_key(acme, name=f"key {number}")
        UsageFactory(workspace=acme.workspace, key_id=key.pk, model_name=f"m{number}", agent_run_id=f"r{number}", cost_micro_usd=number // 2 * 10)
    client, names, url = acme.client(Role.DEVELOPER), [], f"{USAGE}?by={by}&limit=2"
    while url:
        answer = client.get(url).json()
        names += [row.get("member") or row.get("run_id") or row.get("key_id") or row.get("model") for row in answer["results"]]
        url = answer["next"]
    assert len(names) == len(set(names)) == (1 if by == "member" else 7)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"by": "week"}, "by"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "20261101xx"}, "from"),
        ({"from": "2026-W47-1"}, "from"),
        ({"from": "2026-11-01T00:00:00+25:00"}, "from"),
        ({"from": "2026-01-02", "to": "2026-01-02"}, "to"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "to"),
        ({"key_id": "x"}, "key_id"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": write_cursor("² x"), "by": "model"}, "cursor"),
        ({"limit": "0"}, "limit"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(acme, query, param):
    answer = acme.client(Role.DEVELOPER).get(USAGE, query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_member_sees_totals_and_no_single_key(acme, spent):
    client = acme.client(Role.MEMBER)
    for by in spend.BY_TOTAL:
        assert client.get(USAGE, {"by": by}).status_code == 200
        assert client.get("/usage/", {"by": by}).status_code == 200
    for query in ({"by": "key"}, {"by": "run"}, {"by": "member"}, {"key_id": spent[0].pk}):
        assert client.get(USAGE, query).status_code == 403
        assert client.get("/usage/", query).status_code == 403


def exported(client, **query) -> bytes:
    answer = client.get(f"{USAGE}export/", query)
    assert answer.status_code == 200
    assert "attachment" in answer["Content-Disposition"]
    return b"".join(answer.streaming_content if not answer.is_async else list(answer))


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
@pytest.mark.parametrize("by", [*spend.GROUPS, "call"])
def test_an_export_has_what_the_page_has_as_csv_and_as_json(acme, spent, by):
    client = acme.client(Role.DEVELOPER)
    rows = list(csv.DictReader(StringIO(exported(client, by=by, format="csv").decode())))
    told = json.loads(exported(client, by=by, format="json"))
    assert told["by"] == by
    assert len(rows) == len(told["results"])
    for row, same in zip(rows, told["results"], strict=True):
        assert row == {name: exports.csv_cell(value) for name, value in same.items()}
    if by != "call":
        assert told["results"] == read(client, by=by)["results"]
    else:
        assert [row["cost_micro_usd"] for row in rows] == ["", "700", "50"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text):
    assert exports.csv_cell(text) == f"'{text}"
    assert list(csv.reader(StringIO("".join(exports.csv_text(["a", "b"], [{"a": text, "b": -5}])), newline=""))) == [["a", "b"], [f"'{text}", "-5"]]


def test_an_export_leaves_the_product_in_pieces(stack, committed):
    from tests.factories.workspaces import make_tenant

    tenant = make_tenant()
    for number in range(1_500):
        UsageFactory(workspace=tenant.workspace, agent_run_id=f"run-{number}", cost_micro_usd=number)
    headers = {"Authorization": f"Bearer {tenant.token(Role.DEVELOPER)}"}
    url = f"{stack.url}{USAGE}export/?by=call&format=csv"
    with httpx.stream("GET", url, headers=headers, trust_env=False, timeout=60) as answer:
        assert answer.headers.get("transfer-encoding") == "chunked"
        text = "".join(answer.iter_text())
    rows = list(csv.DictReader(StringIO(text)))
    assert [row["cost_micro_usd"] for row in rows] == [str(number) for number in range(1_500)]
    # Whoever goes away in the middle keeps no connection of the pool: more of them than it has do no harm.
    for _ in range(20):
        with httpx.stream("GET", url, headers=headers, trust_env=False, timeout=60) as answer:
            next(answer.iter_bytes())
    assert httpx.get(f"{stack.url}{USAGE}", headers=headers, trust_env=False, timeout=60).json()["total"]["calls"] == 1_500


def test_the_page_shows_the_figures_and_leads_on(acme, spent):
    browser = acme.client(Role.DEVELOPER)
    first, _ = spent
    for by in spend.GROUPS:
        answer = browser.get("/usage/", {"by": by})
        assert answer.status_code == 200
        assert f"by={by}&amp;format=csv" in answer.content.decode()
    assert f'href="/keys/{first.pk}/"' in browser.get("/usage/", {"by": "key"}).content.decode()
    assert f'href="/runs/{first.pk}/run-a/"' in browser.get("/usage/", {"by": "run"}).content.decode()
    assert browser.get("/usage/", {"range": "1y"}).status_code == 400
    with tenancy.scope(acme.workspace.pk):
        assert spend.total(acme.workspace, spend.Wanted.last(30, datetime.now(UTC))).cost_micro_usd == 750
