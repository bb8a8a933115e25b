"""Who is calling."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspaces.engine.client_address import client_address

TRUSTED = ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # not a proxy of ours: the header is the client's own words
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.9.9.9,10.0.0.2", "10.9.9.9"),
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", None, "fe80::1"),
        ("10.0.0.1", "203.0.113.7, unknown", None),
        ("10.0.0.1", "203.0.113.7,", None),
        ("10.0.0.1", "203.0.113.7, 127.1", None),
        ("10.0.0.1", "203.0.113.7, 0x7f000001", None),
        ("", "203.0.113.7", None),
        (None, None, None),
        ("not an address", "203.0.113.7", None),
    ],
)
def test_the_client_is_the_peer_or_the_right_most_hop_that_is_not_ours(peer, header, expected):
    found = client_address(peer, header, TRUSTED)
    assert found == (ip_address(expected) if expected else None)


@given(st.text(max_size=60))
def test_what_a_stranger_sends_changes_nothing(header):
    assert client_address("203.0.113.7", header, TRUSTED) == ip_address("203.0.113.7")
    assert client_address("10.0.0.1", f"{header},203.0.113.7", TRUSTED) == ip_address("203.0.113.7")
