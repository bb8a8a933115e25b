"""Which addresses may be dialled, and what a URL's host really says."""

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspaces.engine.addresses import Allowance, is_off_limits, is_public, objection, parse_allowance, parse_host, parse_url

NOTHING_ALLOWED = Allowance()
CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "ssrf.jsonl"
v4 = st.integers(0, 2**32 - 1).map(IPv4Address)


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1"),
        *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "100.100.100.200", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:224.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1"),
        *("5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
    ],
)
def test_what_is_not_on_the_public_internet(text):
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "172.32.0.1",
        "172.15.255.255",
        "169.253.255.255",
        "223.255.255.254",
        "192.0.1.1",
        "2606:4700:4700::1111",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ],
)
def test_what_is_on_the_public_internet(text):
    assert is_public(ip_address(text))


@given(v4)
def test_a_wrapped_address_is_never_more_public_than_what_it_wraps(address):
    number = int(address)
    mapped, nat64 = IPv6Address(0xFFFF << 32 | number), IPv6Address(0x64FF9B << 96 | number)
    assert is_public(mapped) == is_public(nat64) == is_public(address)
    tunnels = [IPv6Address(0x2002 << 112 | number << 80), IPv6Address(0x20010000 << 96 | number << 64), IPv6Address(number)]
    assert not any(map(is_public, tunnels))
    if is_off_limits(address):
        assert all(map(is_off_limits, [mapped, nat64, *tunnels[:2]]))


@given(v4)
def test_every_number_spelling_of_an_address_is_the_address(address):
    number, parts = int(address), address.packed
    spellings = [
        *(str(address), str(number), hex(number), f"0{number:o}", f"{address}."),
        ".".join(f"0{part:o}" if part else "0" for part in parts),
        ".".join(map(hex, parts)),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        "".join(chr(0xFF10 + int(char)) if char.isdigit() else "。" for char in str(address)),
        f"[::ffff:{address}]",
    ]
    assert {parse_host(text) for text in spellings} == {address}


@given(st.text(st.sampled_from("0123456789abcdefx.:[]%@/\\-_ léǈ。１"), max_size=24))
def test_any_host_is_read_or_refused_and_reading_is_stable(text):
    try:
        found = parse_host(text)
    except ValueError:
        return
    assert parse_host(str(found)) == found
    if isinstance(found, str):
        assert found.isascii()
        assert not found.endswith(".")


@pytest.mark.parametrize(
    "url",
    [
        *("https://user@example.com/", "https://user:pw@example.com", "https://example.com\\@evil.com/", "https:example.com", "https:///example.com"),
        *("https://exa mple.com", "https://example.com/\n", "\thttps://example.com", "ftp://example.com", "file:///etc/passwd", "//example.com", ""),
        *("https://[fe80::1%25eth0]/", "https://[::1", "https://::1/", "https://ex%61mple.com", "https://example.com:0", "https://example.com:65536"),
        *(
            "https://example..com",
            "https://-a.com",
            "https://" + "a" * 64 + ".com",
            "https://1.2.3.4.5",
            "https://256.0.0.1",
            "https://a.0x4",
            "https://xn--a.com",
        ),
        "https://" + "9" * 100_000 + "/",
    ],
)
def test_what_two_parsers_might_read_differently_is_refused(url):
    with pytest.raises(ValueError, match=r"\w"):
        parse_url(url)


def test_a_url_comes_down_to_one_spelling():
    assert parse_url("HTTPS://BÜCHER.example.:443/v1?x").url == "https://xn--bcher-kva.example/v1?x"
    assert parse_url("http://0x7f.1:8080/").url == "http://127.0.0.1:8080/"
    assert parse_url("https://[2606:4700::0:1111]:8443").url == "https://[2606:4700::1111]:8443"


def judge(url: str, *addresses: str, allowed: str = "") -> str | None:
    endpoint = parse_url(url)
    found = [ip_address(text) for text in addresses] or ([endpoint.address] if endpoint.address else [])
    return objection(endpoint, found, parse_allowance(allowed.split(",")))


@pytest.mark.parametrize(
    ("url", "addresses", "allowed"),
    [
        ("https://api.example.com/v1", ["93.184.215.14"], ""),
        ("https://api.example.com/v1", [], ""),
        ("https://api.example.com/v1", ["64:ff9b::5db8:d70e"], ""),
        ("http://127.0.0.1:9000/v1", [], "127.0.0.1"),
        ("http://127.0.0.1:9000/v1", [], "127.0.0.1:9000"),
        ("http://[::1]:9000/v1", [], "[::1]:9000"),
        ("http://ollama:11434", ["172.18.0.4"], "ollama"),
        ("http://ollama:11434", ["172.18.0.4"], "172.16.0.0/12"),
        ("http://ollama.lan:11434", ["::ffff:10.0.0.4"], "10.0.0.0/8"),
        ("https://both.example.com", ["10.0.0.4", "93.184.215.14"], "10.0.0.0/8"),
    ],
)
def test_what_may_be_dialled(url, addresses, allowed):
    assert judge(url, *addresses, allowed=allowed) is None


@pytest.mark.parametrize(
    ("url", "addresses", "allowed", "words"),
    [
        ("http://api.example.com/v1", ["93.184.215.14"], "", "https"),
        ("http://api.example.com/v1", ["93.184.215.14"], "10.0.0.0/8", "https"),
        ("https://api.example.com/v1", ["93.184.215.14", "10.0.0.1"], "", "public"),
        ("https://localhost/v1", [], "", "public"),
        ("https://metadata.google.internal", [], "", "public"),
        ("https://ollama/v1", ["93.184.215.14"], "", "public"),
        ("http://127.0.0.1:9001", [], "127.0.0.1:9000", "https"),
        ("https://127.0.0.1:9001", [], "127.0.0.1:9000", "public"),
        ("http://169.254.169.254", [], "169.254.169.254,0.0.0.0/0", "metadata"),
        ("http://[fd00:ec2::254]", [], "::/0", "metadata"),
        ("http://[64:ff9b::a9fe:a9fe]", [], "::/0", "metadata"),
        ("http://[2002:a9fe:a9fe::]", [], "::/0", "metadata"),
        ("http://evil.lan", ["169.254.169.254"], "evil.lan", "metadata"),
        ("http://0.0.0.0:9000", [], "0.0.0.0/0", "metadata"),
        ("http://[fe80::1]", [], "fe80::/10", "metadata"),
    ],
)
def test_what_may_not_be_dialled_and_why(url, addresses, allowed, words):
    assert words in judge(url, *addresses, allowed=allowed)


def test_an_allowance_names_hosts_ports_addresses_and_networks():
    found = parse_allowance([" Ollama.LAN ", "db:5432", "10.1.2.3/8", "[::1]:80", "::1", ""])
    assert found.names == {("ollama.lan", None), ("db", 5432)}
    assert [(str(network), port) for network, port in found.networks] == [("10.0.0.0/8", None), ("::1/128", 80), ("::1/128", None)]
    assert found.has_address(ip_address("::ffff:10.0.0.1"), 1)
    with pytest.raises(ValueError, match=r"\w"):
        parse_allowance(["not a host"])


@given(v4)
def test_nothing_private_is_reached_without_an_allowance(address):
    permitted = objection(parse_url(f"https://{address}/"), [address], NOTHING_ALLOWED) is None
    assert permitted is is_public(address)
    assert objection(parse_url("https://api.example.com/"), [IPv4Address("8.8.8.8"), address], NOTHING_ALLOWED) is None or not is_public(address) or permitted


def test_the_lists_follow_the_registry_in_whole_networks():
    assert not any(is_public(end) for text in ("198.18.0.0/15", "240.0.0.0/4") for end in (IPv4Network(text)[0], IPv4Network(text)[-1]))


def test_the_collected_spellings_of_others():
    if not CORPUS.exists():
        # The collection stands beside the checkout and is not part of it.
        return
    for line in CORPUS.read_text().splitlines():
        row = json.loads(line)
        try:
            endpoint = parse_url(row["text"])
        except ValueError:
            endpoint = None
        match row["label"]:
            case "public":
                assert endpoint is not None, row
                assert is_public(endpoint.address), row
            case "invalid":
                assert endpoint is None, row
            case "parse":
                assert endpoint is None or endpoint.host == row["host"].strip("[]"), row
            case "forbidden" if endpoint is not None and endpoint.address is not None:
                assert not is_public(endpoint.address), row
