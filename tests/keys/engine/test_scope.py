"""A call against its key: the documented order, messages and lists."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.engine.scope import ModelList, Reason, Scope, Status, admits, status
from workspaces.engine.client_address import parse_network

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HERE = ip_address("203.0.113.7")


def scope(*, networks=(), models=None, **fields) -> Scope:
    return Scope(networks=tuple(map(parse_network, networks)), models=None if models is None else ModelList(tuple(models)), **fields)


def refusal(judged: Scope, model="gpt-4o", address=HERE, at=NOW):
    found = admits(judged, model=model, address=address, at=at)
    return found and (found.code, found.message, found.reason)


def test_a_key_without_limits_admits_every_call():
    assert refusal(Scope()) is None
    assert refusal(Scope(), model=None, address=None) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"is_disabled": True}, Reason.DISABLED), ({"expires_at": NOW}, Reason.EXPIRED)],
)
def test_invalid_keys_are_refused_in_one_wording_before_anything_else(fields, reason):
    found = refusal(scope(networks=["10.0.0.0/8"], models=[], **fields))
    assert found == ("invalid_api_key", "Incorrect API key provided.", reason)


def test_a_key_lives_until_the_moment_it_expires():
    judged = scope(expires_at=NOW + timedelta(seconds=1))
    assert refusal(judged) is None
    assert refusal(judged, at=NOW + timedelta(seconds=1)) is not None


def test_the_address_is_judged_before_the_model():
    judged = scope(networks=["10.0.0.0/8"], models=["gpt-4o"])
    assert refusal(judged, model="other")[2] is Reason.ADDRESS
    assert refusal(judged, model="other", address=ip_address("10.1.2.3"))[2] is Reason.MODEL
    assert refusal(judged, address=ip_address("10.1.2.3")) is None


def test_an_address_that_cannot_be_told_is_on_no_list():
    assert refusal(scope(networks=["0.0.0.0/0", "::/0"]), address=None)[0] == "access_denied"


def test_the_documented_messages_of_the_model_list():
    assert refusal(scope(models=["gpt-4o-mini"])) == ("access_denied", "This token has no access to model gpt-4o", Reason.MODEL)
    assert refusal(scope(models=[])) == ("access_denied", "This token has no access to any models.", Reason.NO_MODELS)


def test_a_call_that_names_no_model_is_not_judged_by_the_list():
    assert refusal(scope(models=[]), model=None) is None


@pytest.mark.parametrize(
    ("entry", "admitted", "refused"),
    [
        ("openai/gpt-4o", ["openai/gpt-4o"], ["openai/gpt-4o-mini", "gpt-4o", "OpenAI/gpt-4o"]),
        ("gpt.*", ["gpt.4", "gpt.4.mini"], ["gpt.", "gpt", "gpt-4"]),
        ("*.mini", ["gpt.mini", "mini"], ["gpt-mini", "gpt.minimal"]),
        ("*.4.*", ["gpt.4.mini"], [".4.mini", "gpt.4."]),
        ("*", ["anything", "a/b:c"], []),
        ("gpt*", ["gpt*"], ["gpt-4"]),
        ("a.b", ["a.b"], ["a__b"]),
    ],
)
def test_models_are_listed_by_tool_globs(entry, admitted, refused):
    judged = scope(models=[entry])
    assert [model for model in admitted if refusal(judged, model=model)] == []
    assert [model for model in refused if not refusal(judged, model=model)] == []


@pytest.mark.parametrize(
    ("entry", "address", "is_listed"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.16/28", "203.0.113.31", True),
        ("203.0.113.16/28", "203.0.113.32", False),
        ("10.1.2.3/8", "10.255.0.1", True),
        ("2001:db8::/32", "2001:db8:1::5", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("::/0", "203.0.113.7", False),
        ("::ffff:203.0.113.0/120", "203.0.113.9", True),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
    ],
)
def test_addresses_are_listed_by_cidr_whatever_their_spelling(entry, address, is_listed):
    assert (refusal(scope(networks=[entry]), address=ip_address(address)) is None) is is_listed


addresses = st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address)


@given(addresses, st.lists(st.tuples(addresses, st.integers(0, 128)), max_size=4))
def test_an_address_is_admitted_exactly_when_a_listed_network_has_its_bits(address, pairs):
    def bits(value) -> str:
        return f"{int(value):0{value.max_prefixlen}b}"

    entries = [ip_network((int(base), min(length, base.max_prefixlen)), strict=False) if base.version == 4 else _v6(base, length) for base, length in pairs]
    expected = not entries or any(
        network.version == address.version and bits(address).startswith(bits(network.network_address)[: network.prefixlen]) for network in entries
    )
    assert (admits(Scope(networks=tuple(entries)), model=None, address=address, at=NOW) is None) is expected


def _v6(base: IPv6Address, length: int):
    return ip_network(f"{base}/{length}", strict=False)


@given(st.builds(Scope, is_disabled=st.booleans(), is_frozen=st.booleans(), expires_at=st.none() | st.sampled_from([NOW, NOW + timedelta(days=1)])))
def test_what_is_not_enabled_is_not_admitted(judged):
    admitted = admits(judged, model="m", address=HERE, at=NOW) is None
    assert admitted is (status(judged, NOW) is Status.ENABLED)


def test_parse_network_never_widens():
    assert parse_network("::ffff:0:0/96") == IPv4Network("0.0.0.0/0")
    assert parse_network("::/0") == ip_network("::/0")
    for text in ("fe80::1%eth0", "10.0.0.0/33", "010.0.0.1", "", "example.com", "10.0.0.0-10.0.0.9"):
        with pytest.raises(ValueError):
            parse_network(text)
