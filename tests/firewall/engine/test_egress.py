"""Where calls go: spellings, the fields that say so, and lists by verdict."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.engine.arguments import decoded
from firewall.engine.decide import decide
from firewall.engine.destinations import Destination, destination, destinations
from firewall.engine.egress import EgressLists, Scope, objections
from firewall.engine.presets import INSIDE as INSIDE_LISTED
from firewall.engine.types import Policy, ReasonCode, Rule, RunState, Surface, ToolCall, Verdict

SSRF = Path(__file__).parents[4] / "shared" / "corpora" / "ssrf.jsonl"
INSIDE = EgressLists(deny=("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"))
#: Public names by their spelling: only a resolver can tell where they lead.
NEEDS_RESOLVING = ("r3dir.me", "evil.com", "attacker")


def stopped(*urls: str) -> bool:
    return Scope(INSIDE, permits=False).hit([destination(url) for url in urls]) is not None


def test_the_corpus_of_others_is_told_apart():
    for row in map(json.loads, SSRF.read_text().splitlines() if SSRF.exists() else ()):
        url, label = row["text"], row["label"]
        if label == "forbidden":
            assert stopped(url) or any(name in url for name in NEEDS_RESOLVING), url
        elif label == "public":
            assert not stopped(url), url
        elif label == "invalid":
            assert destination(url).is_unreadable or url in ("a", "a//"), url
        else:
            found = destination(url)
            assert found.is_unreadable or found.host == row["host"].strip("[]"), url


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:7f00:1]/", "HTTP://LOCALHOST./"),
        *(
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://127.0.0.1.nip.io/",
            "http://x-10-0-0-1.sslip.io",
            "http://a:b@10.0.0.1/",
            "//10.0.0.1/x",
        ),
        *(
            "10.0.0.1:8080",
            "::1",
            "fe80::1%eth0",
            "http://[fe80::1%25eth0]/",
            "http://１２７.0.0.1/",
            "http://127。0。0。1/",
            "metadata.google.internal",
            "api.localhost",
        ),
        *(
            "http://example.org\\@10.0.0.1/",
            "http://a@b@10.0.0.1/",
            "http://exam%70le.org/",
            "http://256.1.1.1/",
            "http:/10.0.0.1/",
            " http://10.0.0.1",
            "http://",
            "file:///x",
        ),
    ],
)
def test_an_inner_address_is_stopped_in_every_spelling(url):
    assert stopped(url)
    assert stopped("https://example.org", url)


@pytest.mark.parametrize("url", ["https://example.org", "example.org:443/x", "https://user:pw@example.org/a@b", "https://8.8.8.8/", "https://münchen.example/"])
def test_a_public_destination_passes(url):
    assert not stopped(url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com#@127.0.0.1/", "http://example.com?@[::1]/", "http://8.8.8.8#x@localhost", "http://১২৭.০.০.১/", "http://192.0.2.1/"),
        *("http://[2001:db8::1]/", "http://[64:ff9b:1::a00:1]/", "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[100::1]/"),
    ],
)
def test_the_preset_stops_what_is_nowhere_or_read_as_inside_by_some(url):
    assert Scope(EgressLists(deny=INSIDE_LISTED), permits=False).hit([destination(url)]) is not None


@pytest.mark.parametrize("url", ["https://example.com?mail=a@b.example", "https://example.com#@me", "https://例え.jp/", "https://1.example.com", "8.8.8.8"])
def test_the_preset_lets_the_public_net_pass(url):
    assert Scope(EgressLists(deny=INSIDE_LISTED), permits=False).hit([destination(url)]) is None


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "{:#x}", "{:#o}"]))
def test_an_address_is_the_same_in_every_base(number, base):
    written = base.format(number).replace("0o", "0")
    assert destination(f"http://{written}/").addresses == (ip_address(number),)


@pytest.mark.parametrize("url", ["0.0.0.0", "http://0:8080/", "http://[::]/", "http://[::ffff:0.0.0.0]/", "http://[64:ff9b::]/"])
@pytest.mark.parametrize("listed", ["127.0.0.0/8", "::1"])
def test_the_address_of_nowhere_reaches_this_machine(url, listed):
    assert Scope(EgressLists(deny=(listed,)), permits=False).hit([destination(url)])
    assert not Scope(EgressLists(deny=("10.0.0.0/8",)), permits=False).hit([destination(url)])


def test_a_name_is_judged_by_what_it_resolved_to():
    scope = Scope(INSIDE, permits=False)
    assert scope.hit([Destination("intranet.example", addresses=(ip_address("8.8.8.8"), ip_address("10.0.0.1")))])
    assert not scope.hit([Destination("www.example", addresses=(ip_address("8.8.8.8"),))])
    assert scope.hit([Destination("gone.example", addresses=())])
    assert not scope.hit([Destination("unasked.example")])


def test_a_name_that_is_let_through_need_not_resolve():
    """Whoever lists a name knows it, though the gateway's resolver may not; an address list is another matter."""
    gone = Destination("api.example.com", addresses=())
    by_name, with_exceptions = EgressLists(allow=("api.example.com",)), EgressLists(allow=("api.example.com",), deny=("10.0.0.0/8",))
    assert Scope(by_name, permits=True).hit([gone])
    assert not Scope(with_exceptions, permits=True).hit([gone])
    assert not Scope(EgressLists(allow=("0.0.0.0/0",)), permits=True).hit([gone])
    assert not Scope(with_exceptions, permits=False).hit([gone])
    named = Rule(1, 1, "", None, "", Verdict.ALLOW, egress=by_name)
    inside = Rule(2, 2, "", None, "", Verdict.DENY, egress=EgressLists(deny=("10.0.0.0/8",)))
    policy = Policy(1, "agents", 1, Verdict.ALLOW, shadow_mode=False, rules=(named, inside))
    for surface in (Surface.EGRESS, Surface.MCP):
        to = {
            host: decide(policy, ToolCall(surface, "http.get", "{}", destinations=(Destination(host, addresses=()),)), RunState())
            for host in (gone.host, "x.org")
        }
        assert (to[gone.host].verdict, to["x.org"].reason_code) == (Verdict.ALLOW, ReasonCode.EGRESS_NO_DESTINATION)


def test_polarity_follows_the_verdict_and_doubt_the_stricter_side():
    lists = EgressLists(allow=("api.example.com", "8.8.8.0/24"), deny=("10.0.0.0/8", "bad.example.com"))
    permits, stops = Scope(lists, permits=True), Scope(lists, permits=False)
    inside, outside = destination("https://API.example.com./x"), destination("https://other.example.com")
    assert permits.hit([inside])
    assert not permits.hit([inside, outside])
    assert not permits.hit([outside])
    assert not permits.hit([destination("http://a b")])
    assert not permits.hit([])
    assert not permits.hit([Destination("api.example.com", addresses=(ip_address("10.0.0.1"),))])
    assert permits.hit([Destination("dns.example", addresses=(ip_address("8.8.8.8"),))])
    assert not permits.hit([Destination("dns.example", addresses=(ip_address("8.8.8.8"), ip_address("9.9.9.9")))])
    assert stops.hit([outside, destination("bad.example.com")])
    assert not stops.hit([Destination("api.example.com", addresses=(ip_address("10.0.0.1"),))])
    assert stops.hit([destination("http://a b")])


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        ({"url": "https://a.example/x", "body": "see https://b.example for more"}, ["a.example"]),
        ({"request": {"uri": "a.example"}, "headers": {"Host": "b.example:80"}}, ["a.example", "b.example"]),
        ({"urls": ["https://a.example", "https://b.example"]}, ["a.example", "b.example"]),
        ({"image_url": "https://a.example", "baseURL": "https://b.example", "targetHost": "c"}, ["a.example", "b.example", "c"]),
        ({"q": "http://10.0.0.1/"}, ["10.0.0.1"]),
        ({"ip": 2130706433}, ["127.0.0.1"]),
        ({"address": "12 Main St", "target": "build", "curl": "x"}, []),
        ({"address": "10.0.0.1", "target": "localhost", "domain": "a.example"}, ["10.0.0.1", "localhost", "a.example"]),
        ({"url": ""}, []),
        ({"a": {"b": {"c": [{"host": "deep.example"}]}}}, ["deep.example"]),
    ],
)
def test_destinations_are_found_by_the_names_of_fields(arguments, hosts):
    assert [found.host for found in destinations(arguments)] == hosts


def test_more_destinations_than_anybody_would_judge_are_one_that_cannot_be_read():
    found = destinations({"urls": [f"https://h{number}.example" for number in range(1000)]})
    assert len(found) == 65
    assert found[-1].is_unreadable
    assert destinations(decoded("{"))[0].is_unreadable


@pytest.mark.parametrize(
    ("spec", "params"),
    [
        ({"allow": ["API.example.com.", "10.0.0.1", "::1", "10.0.0.0/8", "[::1]", "127.1"], "deny": []}, []),
        ({"allow": ["*.example.com"]}, ["allow[0]"]),
        ({"deny": ["https://x.org"]}, ["deny[0]"]),
        ({"deny": ["10.0.0.0/33", 5, ""]}, ["deny[0]", "deny[1]", "deny[2]"]),
        ({"deny": "x.org"}, ["deny"]),
        ({"block": []}, ["block"]),
        (None, [""]),
    ],
)
def test_what_is_wrong_with_lists_is_named(spec, params):
    assert [param for param, _ in objections(spec)] == params


@given(st.text(max_size=40) | st.text("htp:/@.[]0x17%\\ ", max_size=30))
def test_every_text_is_a_destination_or_unreadable(text):
    found = destination(text)
    assert found.is_unreadable or found.host
    assert stopped(text) or not found.is_unreadable
