"""Signatures: the published example and its forgeries, two secrets at once, and the official library on the other side."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from approvals.engine import retry, signing
from approvals.engine.signing import Shown

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "signatures.json"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PLAIN = "a plain-text secret of a team".replace(" ", "-")
BODY = b'{"approval_id": "0123456789abcdef01234567", "decision": "approved"}'
NOW = 1_800_000_000


def cousins() -> list[dict]:
    """The published kinds of forgery, made anew over a message of our own."""
    right = signing.standard_signature(SECRET, "msg_1", str(NOW), BODY)
    encoded = right.partition(",")[2]
    whole = {"id": "msg_1", "timestamp": str(NOW), "signature": right, "body": BODY, "at": NOW}
    return [
        {"name": name, "valid": valid} | whole | changed
        for name, valid, changed in (
            ("as signed", True, {}),
            ("299 s late", True, {"at": NOW + 299}),
            ("at the edge", True, {"at": NOW - 300}),
            ("late", False, {"at": NOW + 301}),
            ("early", False, {"at": NOW - 301}),
            ("another body", False, {"body": BODY + b" "}),
            ("another id", False, {"id": "msg_2"}),
            ("no id", False, {"id": ""}),
            ("another timestamp", False, {"timestamp": str(NOW + 1)}),
            ("timestamp in another spelling", False, {"timestamp": f"0{NOW}"}),
            ("timestamp with a sign", False, {"timestamp": f"+{NOW}"}),
            ("asymmetric scheme", False, {"signature": f"v1a,{encoded}"}),
            ("no scheme", False, {"signature": encoded}),
            ("empty", False, {"signature": ""}),
            ("commas between", False, {"signature": f"v1,AAAA,{right}"}),
            ("truncated", False, {"signature": right[:-2]}),
            ("longer", False, {"signature": right + "A"}),
            ("second of two", True, {"signature": f"v1,AAAA {right}"}),
            ("beyond what is looked at", False, {"signature": "v1,AAAA " * 20 + right}),
            ("not ASCII", False, {"signature": "v1,ÿÿ\udcff"}),
        )
    ]


@pytest.mark.parametrize("vector", cousins(), ids=lambda vector: vector["name"])
def test_only_what_was_signed_and_is_fresh_holds(vector):
    shown = Shown(webhook_id=vector["id"], webhook_timestamp=vector["timestamp"], webhook_signature=vector["signature"])
    for secrets in ([SECRET], [OTHER, SECRET], [SECRET, OTHER]):
        assert signing.is_signed(secrets, shown, body=vector["body"], now=vector["at"]) is vector["valid"]
    assert not signing.is_signed([OTHER], shown, body=vector["body"], now=vector["at"])
    assert not signing.is_signed([], shown, body=vector["body"], now=vector["at"])


@pytest.mark.parametrize("vector", json.loads(CORPUS.read_text())["standard_webhooks"] if CORPUS.exists() else [], ids=lambda vector: vector["name"])
def test_the_published_vectors(vector):
    shown = Shown(webhook_id=vector["webhook-id"], webhook_timestamp=vector["webhook-timestamp"], webhook_signature=vector["webhook-signature"])
    assert signing.is_signed([vector["secret"]], shown, body=vector["body"].encode(), now=vector["valid_at"]) is vector["valid"]


@pytest.mark.parametrize(
    ("signature", "holds"),
    [
        (signing.orca_signature(SECRET, BODY), True),
        (signing.orca_signature(OTHER, BODY), False),
        (signing.orca_signature(SECRET, BODY + b"\n"), False),
        (signing.orca_signature(SECRET, BODY)[:-1], False),
        (signing.orca_signature(SECRET, BODY).removeprefix("sha256="), False),
        (signing.orca_signature(SECRET, BODY).upper(), False),
        ("sha256=", False),
        ("", False),
    ],
)
def test_the_plain_scheme_is_over_the_raw_body(signature, holds):
    assert signing.is_signed([SECRET], Shown(orca=signature), body=BODY, now=NOW) is holds


def test_a_wrong_signature_is_not_mended_by_a_right_one_beside_it():
    right = Shown.of({name.lower(): value for name, value in signing.headers([SECRET], event="e", message_id="m", timestamp=NOW, body=BODY).items()})
    assert signing.is_signed([SECRET], right, body=BODY, now=NOW)
    forged = signing.orca_signature(OTHER, BODY)
    assert not signing.is_signed([SECRET], Shown(forged, right.webhook_id, right.webhook_timestamp, right.webhook_signature), body=BODY, now=NOW)
    assert not signing.is_signed([SECRET], Shown(right.orca, right.webhook_id, right.webhook_timestamp, "v1,AAAA"), body=BODY, now=NOW)


@pytest.mark.parametrize("secret", [SECRET, PLAIN, "whsec_not base64 at all!".replace(" ", "-"), "whsec_" + "A" * 249])
def test_the_official_library_reads_our_messages(secret):
    now = int(time.time())
    made = signing.headers([OTHER, secret], event="firewall.approval.pending", message_id="msg_1", timestamp=now, body=BODY)
    key = signing.standard_key(secret)
    assert Webhook(key).verify(BODY, made)["decision"] == "approved"
    assert Webhook(OTHER).verify(BODY, made)
    if secret == SECRET:
        assert Webhook(secret).verify(BODY, made)
    assert made["X-Orca-Signature"] == signing.orca_signature(OTHER, BODY)


def test_without_a_secret_nothing_is_signed():
    assert set(signing.headers([], event="e", message_id="m", timestamp=NOW, body=BODY)) == {"X-Orca-Event", "webhook-id", "webhook-timestamp"}


@given(*[st.text(st.characters(exclude_categories=()))] * 4, st.binary())
def test_no_header_is_too_strange_to_be_refused(orca, webhook_id, timestamp, signature, body):
    assert not signing.is_signed([SECRET], Shown(orca, webhook_id, timestamp, signature), body=body, now=NOW)


@pytest.mark.parametrize(
    ("text", "may"),
    [("x" * 23, False), ("x" * 24, True), ("x" * 255, True), ("x" * 256, False), ("é" * 24, False), ("x " * 12, False), ("x" * 23 + "\n", False)],
)
def test_a_secret_has_24_to_255_visible_characters(text, may):
    assert signing.is_secret(text) is may


def test_a_fresh_time_is_a_number_within_five_minutes():
    assert signing.is_fresh(NOW + 300, now=NOW)
    for off in (301, -301, float("nan"), float("inf"), -float("inf"), 1e300):
        assert not signing.is_fresh(NOW + off, now=NOW)


def test_eight_attempts_take_about_six_hours_each_wait_longer_than_the_last():
    for luck in (0.0, 0.5, 1.0):
        waits = [retry.wait_seconds(attempt, luck) for attempt in range(1, 8)]
        assert waits == sorted(waits)
        assert 4.5 * 3600 < sum(waits) < 7.5 * 3600
    assert retry.wait_seconds(8, 0.5) is None
    assert retry.wait_seconds(1, 0.0) < retry.wait_seconds(1, 1.0)
