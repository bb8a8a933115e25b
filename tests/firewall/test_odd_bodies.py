"""Whatever is sent to the firewall's management routes is answered in the one form, and what is wrong is named: never a fault of ours."""

import copy
import gzip
import json
import random
from collections.abc import Iterator

import pytest

from tests.factories.firewall import make_policy
from workspaces.permissions import Role

FIREWALL = "/api/workspace/firewall"
RULE = {
    "verdict": "deny",
    "stage": "response",
    "tool_name_glob": "a.*",
    "args_match": {"clauses": [{"path": "$.a[0].b", "op": "regex", "value": "x+"}, {"path": "$.c", "op": "in", "value": [1, "a"]}]},
    "egress": {"deny": ["10.0.0.0/8"], "allow": ["a.example"]},
    "sanitize": {"presets": ["email"], "custom": ["x"]},
}
CHAIN = {"verdict": "deny", "sequence": {"window_seconds": 60, "enforce": "inline", "steps": [{"match": "a", "min_count": 1}, {"match": "*", "egress": True}]}}
POLICY = {"name": "p", "default_verdict": "deny", "enabled": True, "rules": [RULE, CHAIN, {"verdict": "cap_cost", "cap_cost_cents": 5}]}
BODIES: dict[str, dict] = {
    "policies": POLICY,
    "policies/import": {"format": "orcarouter.policy/1", **POLICY},
    "rules": {"policy_id": 1, **RULE},
    "test": {"surface": "mcp", "tool_name": "a", "arguments": {"a": 1}, "destination": "x.org", "policy": POLICY, "run": {"before": [{"tool_name": "b"}]}},
    "backtests": {"policy": POLICY, "days": 7, "keys": [1]},
    "templates/apply": {"template": "coding", "name": "x"},
    "autonomy": {"level": "nonsense"},
}
ODD: list[object] = [
    *(None, True, 0, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "a" * 300, "\x00", "\ud800", "9" * 5000, [], {}, [[]], [None], {"": ""}),
    *({"\x00": 1}, {"\ud800": [{}]}, "%00", "${x}", "(a+)+$" * 90, r"(\pM?){40}x"),
]


def raw(document: dict) -> Iterator[bytes]:
    good, name = json.dumps(document).encode(), next(iter(document)).encode()
    yield from (b"", b" ", b"\x00", b"null", b"[]", b"5", b'"x"', b"[" * 100_000, b'{"a":' * 5_000, b"\xef\xbb\xbf" + good, good[:-1], good + good)
    yield from (json.dumps(document).encode("utf-16"), gzip.compress(good), b"&x [*x]", b"!!python/object:os.system {}", b"- " * 5_000)
    yield from (
        b'{"' + name + b'":' + value + b"}" for value in (b"NaN", b"1e999", b"9" * 6_000, b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'1,"' + name + b'":1')
    )


def places(value: object, at: tuple = ()) -> Iterator[tuple]:
    for name, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*at, name)
        yield from places(each, (*at, name))


def altered(document: dict, chance: random.Random) -> bytes:
    """A right body with something else in one place."""
    changed = copy.deepcopy(document)
    *above, last = chance.choice([*places(changed)])
    holder = changed
    for name in above:
        holder = holder[name]
    holder[last] = copy.deepcopy(chance.choice(ODD))
    return json.dumps(changed).encode()


@pytest.mark.parametrize("route", BODIES)
def test_no_odd_body_is_a_fault_of_ours(acme, route):
    client, document = acme.client(Role.DEVELOPER), dict(BODIES[route])
    if "policy_id" in document:
        document["policy_id"] = make_policy(acme.workspace, actor=acme.person(Role.OWNER)).pk
    chance = random.Random(route)
    for body in [*raw(document), *(altered(document, chance) for _ in range(25))]:
        answer = client.post(f"{FIREWALL}/{route}", body, content_type="application/json")
        assert answer.status_code < 500, body[:300]
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert {"message", "type", "code", "param"} <= error.keys()
            is_whole = error["code"] != "validation_error" or " object" in error["message"]
            assert is_whole or error["param"], (body[:300], error)
