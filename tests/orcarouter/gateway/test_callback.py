"""The callback over HTTP: no key, a bounded body, the one error body."""

import json
import time

import httpx2 as httpx
import pytest

from approvals.engine import signing
from tests.approvals.test_callback import body_of, give_secret
from tests.factories.approvals import make_hold, make_holding_policy
from tests.receiver import SECRET

pytestmark = pytest.mark.stack


@pytest.fixture
def hold(agent):
    give_secret(agent.tenant)
    return make_hold(make_holding_policy(agent.tenant), key_id=agent.key_id)


def post(stack, approval_id, body, **headers):
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{stack.url}/api/v1/firewall/approvals/{approval_id}/callback", content=body, headers=headers, timeout=60)


def test_a_signed_callback_decides_and_a_forged_one_does_not(stack, hold):
    body = body_of(hold)
    forged = post(stack, hold.pk, body, x_orca_signature=signing.orca_signature(SECRET[::-1], body))
    assert (forged.status_code, forged.json()["error"]["code"]) == (401, "invalid_signature")
    for _ in range(2):
        answer = post(stack, hold.pk, body, x_orca_signature=signing.orca_signature(SECRET, body))
        assert (answer.status_code, answer.json()["state"], answer.json()["approval_id"]) == (200, "approved", hold.pk)
    other = body_of(hold, "rejected")
    late = post(stack, hold.pk, other, x_orca_signature=signing.orca_signature(SECRET, other))
    assert (late.status_code, late.json()["error"]["code"], late.json()["error"]["metadata"]["state"]) == (409, "approval_resolved", "approved")


def test_it_says_no_in_the_one_body_and_reads_little(stack, hold):
    for approval_id, body, status, code in (
        (hold.pk, b"{}", 401, "invalid_signature"),
        ("0" * 24, b"{}", 404, "not_found"),
        ("x%2f..", b"{}", 404, "not_found"),
        (hold.pk, b" " * 17_000, 413, "payload_too_large"),
    ):
        answer = post(stack, approval_id, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    url = f"{stack.url}/api/v1/firewall/approvals/{hold.pk}/callback"
    assert httpx.get(url, timeout=60).status_code == 405
    assert httpx.post(url, content=b"a=1", headers={"Content-Type": "text/plain"}, timeout=60).status_code == 415


def test_a_callback_as_a_receiver_writes_it(stack, hold):
    """Nothing of ours: what docs/approvals.md tells a receiver to do."""
    import hashlib
    import hmac

    body = json.dumps({"approval_id": hold.pk, "decision": "rejected", "timestamp": int(time.time())}).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert post(stack, hold.pk, body, x_orca_signature=signature).json()["state"] == "rejected"
