"""The signed callback: either signature, bound to the id, fresh; whatever is not, changes nothing; a replay neither."""

import json
import time
from datetime import timedelta

import pytest
from django.utils import timezone
from standardwebhooks import Webhook

from approvals import addressees, callback, outbox, services
from approvals.engine import signing
from approvals.engine.binding import State
from approvals.outbox import HoldEvent
from tests.factories.approvals import make_hold, make_holding_policy
from tests.factories.keys import make_key
from tests.receiver import SECRET
from workspaces import errors, tenancy, vault
from workspaces.permissions import Role

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def give_secret(tenant, secret=SECRET, *, by=Role.ADMIN, former="", until=None, former_by=None, url="https://198.20.0.1/hook"):
    workspace = tenant.workspace

    def sealed(text):
        return vault.seal(text, workspace_id=workspace.pk, purpose=addressees.SECRET_SEAL) if text else None

    with tenancy.scope(workspace.pk):
        endpoint = addressees.endpoint_of(workspace)
        endpoint.url, endpoint.secret_sealed, endpoint.secret_set_by = url, sealed(secret), tenant.person(by)
        endpoint.former_secret_sealed, endpoint.former_secret_until = sealed(former), until
        endpoint.former_secret_set_by = tenant.person(former_by) if former_by else None
        endpoint.save()


@pytest.fixture
def policy(acme):
    give_secret(acme)
    return make_holding_policy(acme)


@pytest.fixture
def hold(policy):
    return make_hold(policy)


def body_of(hold, decision="approved", **fields):
    told = {"approval_id": hold.pk, "decision": decision, "timestamp": int(time.time()), "reason": "known payee", "decided_by": "the treasury bot"}
    return json.dumps({name: value for name, value in (told | fields).items() if value is not ...}).encode()


def plainly(body, secret=SECRET):
    return {"x-orca-signature": signing.orca_signature(secret, body)}


def standard(body, secret=SECRET, at=None, message_id="msg_theirs"):
    at = at or timezone.now()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at.replace(tzinfo=None) if at.tzinfo is None else at, body.decode()),
    }


def receive(hold, headers, body, at=None):
    return callback.receive(hold.pk, headers, body, at=at or timezone.now())


def state_of(hold):
    with tenancy.scope(hold.workspace_id):
        return hold.workspace.approvals.get(pk=hold.pk).state


@pytest.mark.parametrize("sign", [plainly, standard], ids=["plain", "standard"])
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_either_signature_decides(hold, sign, decision):
    body = body_of(hold, decision)
    found = receive(hold, sign(body), body)
    assert (found.state, found.resolved_by_label, found.reason) == (decision, "the treasury bot", "known payee")
    with tenancy.scope(hold.workspace_id):
        entry = hold.workspace.audit_entries.get(action__in=["firewall_approval_approve", "firewall_approval_reject"])
        assert (entry.actor_label, entry.payload["decided_by"]) == ("system", "the treasury bot")


def test_a_replay_changes_nothing_and_the_other_decision_is_409(hold):
    body = body_of(hold)
    first = receive(hold, plainly(body), body)
    again = receive(hold, plainly(body), body)
    assert (again.state, again.resolved_at) == ("approved", first.resolved_at)
    with tenancy.scope(hold.workspace_id):
        assert hold.workspace.audit_entries.filter(action="firewall_approval_approve").count() == 1
    other = body_of(hold, "rejected")
    with pytest.raises(errors.ApprovalResolved) as refused:
        receive(hold, plainly(other), other)
    assert (refused.value.status, refused.value.metadata["state"]) == (409, "approved")


def test_a_callback_after_a_person_is_told_what_stands(hold, acme):
    with tenancy.scope(hold.workspace_id):
        services.resolve(hold, decision=State.REJECTED, by=acme.person(Role.OWNER))
    body = body_of(hold)
    with pytest.raises(errors.ApprovalResolved):
        receive(hold, plainly(body), body)
    same = body_of(hold, "rejected")
    assert receive(hold, plainly(same), same).resolved_by_label == acme.person(Role.OWNER).email


def forgeries():
    """``name -> (hold, another hold) -> (headers, body, at)``."""
    early, late = timedelta(seconds=-301), timedelta(seconds=301)
    return {
        "no signature": lambda hold, _: ({}, body_of(hold), None),
        "another secret": lambda hold, _: (plainly(body_of(hold), OTHER), body_of(hold), None),
        "truncated": lambda hold, _: ({"x-orca-signature": plainly(body_of(hold))["x-orca-signature"][:-1]}, body_of(hold), None),
        "no prefix": lambda hold, _: ({"x-orca-signature": plainly(body_of(hold))["x-orca-signature"][7:]}, body_of(hold), None),
        "altered body": lambda hold, _: (plainly(body_of(hold)), body_of(hold, "rejected"), None),
        "re-serialised": lambda hold, _: (plainly(body_of(hold)), json.dumps(json.loads(body_of(hold)), separators=(",", ":")).encode(), None),
        "another hold's": lambda hold, other: (plainly(body_of(other)), body_of(other), None),
        "another hold's, standard": lambda hold, other: (standard(body_of(other)), body_of(other), None),
        "no id": lambda hold, _: (plainly(body_of(hold, approval_id=...)), body_of(hold, approval_id=...), None),
        "stale": lambda hold, _: (plainly(body_of(hold)), body_of(hold), timezone.now() + late),
        "from the future": lambda hold, _: (plainly(body_of(hold)), body_of(hold), timezone.now() + early),
        "stale, standard": lambda hold, _: (standard(body_of(hold)), body_of(hold), timezone.now() + late),
        "stale header, fresh body": lambda hold, _: (standard(body_of(hold), at=timezone.now() + early), body_of(hold), None),
        "no timestamp": lambda hold, _: (plainly(body_of(hold, timestamp=...)), body_of(hold, timestamp=...), None),
        "timestamp as text": lambda hold, _: (plainly(body_of(hold, timestamp="1")), body_of(hold, timestamp="1"), None),
        "timestamp true": lambda hold, _: (plainly(body_of(hold, timestamp=True)), body_of(hold, timestamp=True), None),
        "timestamp in milliseconds": lambda hold, _: (
            plainly(body_of(hold, timestamp=int(time.time() * 1000))),
            body_of(hold, timestamp=int(time.time() * 1000)),
            None,
        ),
        "one right of two": lambda hold, _: (plainly(body_of(hold)) | standard(body_of(hold), OTHER), body_of(hold), None),
        "id altered": lambda hold, _: (standard(body_of(hold)) | {"webhook-id": "msg_other"}, body_of(hold), None),
    }


@pytest.mark.parametrize("name", forgeries())
def test_what_is_not_signed_fresh_and_of_this_hold_is_401_and_changes_nothing(policy, hold, name):
    headers, body, at = forgeries()[name](hold, make_hold(policy, arguments='{"amount": 1}'))
    with pytest.raises(errors.InvalidSignature) as refused:
        receive(hold, headers, body, at)
    assert refused.value.status == 401
    assert state_of(hold) == "pending"


def test_our_own_message_sent_back_is_refused(hold):
    """Both its signatures are right: what gives it away is what it says."""
    with tenancy.scope(hold.workspace_id):
        delivery = hold.workspace.deliveries.get(approval_id=hold.pk)
    now = int(time.time())
    body = delivery.body.encode()
    headers = signing.headers([SECRET], event=HoldEvent.PENDING, message_id=delivery.message_id, timestamp=now, body=body)
    with pytest.raises(errors.InvalidSignature):
        receive(hold, {name.lower(): value for name, value in headers.items()}, body)
    mixed = json.dumps(json.loads(body_of(hold)) | {"event": None}).encode()
    with pytest.raises(errors.InvalidSignature):
        receive(hold, plainly(mixed), mixed)
    assert state_of(hold) == "pending"


def test_without_a_secret_nothing_is_signed(acme, hold):
    give_secret(acme, "")
    body = body_of(hold)
    for secret in (SECRET, "x"):
        with pytest.raises(errors.InvalidSignature):
            receive(hold, plainly(body, secret), body)
    empty = {"x-orca-signature": signing.orca_signature("", body)}
    with pytest.raises(errors.InvalidSignature):
        receive(hold, empty, body)


def test_both_secrets_hold_during_a_rotation_and_not_a_second_longer(acme, hold):
    until = timezone.now() + timedelta(hours=1)
    give_secret(acme, OTHER, former=SECRET, until=until)
    body = body_of(hold)
    assert receive(hold, plainly(body), body).state == "approved"
    assert receive(hold, plainly(body, OTHER), body).state == "approved"
    later = body_of(hold, timestamp=int(until.timestamp()))
    with pytest.raises(errors.InvalidSignature):
        receive(hold, plainly(later), later, at=until)


@pytest.mark.parametrize("approval_id", ["0" * 24, "x", "", "../x", "0" * 23, "0123456789ABCDEF01234567", "0" * 24 + "\n"])
def test_an_unknown_hold_is_404(acme, policy, approval_id):
    body = b"{}"
    with pytest.raises(errors.NotFound):
        callback.receive(approval_id, plainly(body), body, at=timezone.now())


def test_another_workspaces_secret_decides_nothing(hold, rival):
    give_secret(rival, OTHER)
    body = body_of(hold)
    with pytest.raises(errors.InvalidSignature):
        receive(hold, plainly(body, OTHER), body)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"decision": "yes"}, "decision"),
        ({"decision": ...}, "decision"),
        ({"decision": ["approved"]}, "decision"),
        ({"reason": 1}, "reason"),
        ({"decided_by": "x" * 201}, "decided_by"),
    ],
)
def test_a_signed_body_that_is_wrong_is_told_where(hold, fields, param):
    body = body_of(hold, **fields)
    with pytest.raises(errors.ValidationFailed) as refused:
        receive(hold, plainly(body), body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": 1, "a": 2}',
        b"\xff",
        b'{"timestamp": NaN}',
        b'{"timestamp": 1e999}',
        b'{"approval_id": "%s", "timestamp": 1' + b"0" * 400 + b"}",
        b"[" * 5000,
    ],
)
def test_a_signed_body_that_is_no_json_object_is_an_error_and_no_bug(hold, body):
    body = body.replace(b"%s", hold.pk.encode())
    with pytest.raises(errors.OrcaError) as refused:
        receive(hold, plainly(body), body)
    assert refused.value.status in (400, 401)


def test_with_four_eyes_the_keys_side_does_not_decide_through_the_callback(acme, policy):
    key, _ = make_key(acme)
    with tenancy.scope(acme.workspace.pk):
        settings = services.selectors.settings_of(acme.workspace)
        settings.four_eyes = True
        settings.save()
    hold = make_hold(policy, key_id=key.pk)
    give_secret(acme, by=Role.DEVELOPER)
    body = body_of(hold)
    with pytest.raises(errors.PermissionRefused, match="maker of the key"):
        receive(hold, plainly(body), body)
    give_secret(acme, by=Role.OWNER)
    with pytest.raises(errors.PermissionRefused, match="last editor"):
        receive(hold, plainly(body), body)
    give_secret(acme, OTHER, by=Role.ADMIN, former=SECRET, until=timezone.now() + timedelta(hours=1), former_by=Role.DEVELOPER)
    with pytest.raises(errors.PermissionRefused, match="maker of the key"):
        receive(hold, plainly(body), body)
    give_secret(acme, by=Role.ADMIN)
    assert receive(hold, plainly(body), body).state == "approved"


def test_a_decision_is_told_in_the_transaction_that_makes_it(hold):
    body = body_of(hold)
    receive(hold, plainly(body), body)
    with tenancy.scope(hold.workspace_id):
        told = {each.event: each.state for each in hold.workspace.deliveries.filter(approval_id=hold.pk)}
    assert told == {outbox.HoldEvent.PENDING: "stopped", outbox.HoldEvent.APPROVED: "pending"}
