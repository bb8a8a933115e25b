"""``Idempotency-Key``: the same write again changes nothing and shows no secret a second time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from tests.factories.workspaces import make_tenant
from workspaces import tenancy
from workspaces.permissions import Role

TOKENS = "/api/workspace/access-tokens/"


def make(tenant, key: str, name: str = "export", role: Role = Role.OWNER):
    return tenant.client(role).post(TOKENS, {"name": name}, content_type="application/json", headers={"Idempotency-Key": key})


def count(tenant) -> int:
    with tenancy.scope(tenant.workspace.pk):
        return tenant.workspace.access_tokens.count()


def test_a_replay_gives_the_first_answer_with_the_secret_masked(acme):
    first, again = make(acme, "k1"), make(acme, "k1")
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (201, 201, "true")
    token = first.json()["token"]
    assert again.json() == first.json() | {"token": f"orca-pat-{token[9:13]}****{token[-4:]}"}
    assert count(acme) == 1


def test_another_body_under_the_same_key_is_refused(acme):
    make(acme, "k1")
    answer = make(acme, "k1", name="other")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert count(acme) == 1


def test_a_key_means_something_to_one_credential_on_one_route_only(acme, rival):
    pks = {make(acme, "k1").json()["id"], make(acme, "k1", role=Role.ADMIN).json()["id"], make(rival, "k1").json()["id"]}
    assert len(pks) == 3
    renamed = acme.client(Role.OWNER).patch("/api/workspace/", {"name": "export"}, content_type="application/json", headers={"Idempotency-Key": "k1"})
    assert "token" not in renamed.json()


def test_a_failed_write_leaves_no_answer(acme):
    assert make(acme, "k1", name="").status_code == 400
    assert make(acme, "k1", name="export").status_code == 201


def test_a_key_is_forgotten_after_a_day(acme):
    first = make(acme, "k1")
    with time_machine.travel(timezone.now() + timedelta(hours=24, seconds=1), tick=False):
        again = make(acme, "k1", name="other")
    assert again.status_code == 201
    assert again.json()["id"] != first.json()["id"]


def test_a_repeated_delete_answers_as_the_first(acme):
    pk, client = make(acme, "k1").json()["id"], acme.client(Role.OWNER)
    assert [client.delete(f"{TOKENS}{pk}/", headers={"Idempotency-Key": "k2"}).status_code for _ in range(2)] == [204, 204]


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
def test_an_unusable_key_is_named(acme, key):
    answer = make(acme, key)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


def test_sent_twice_at_once_it_happens_once(committed):
    acme = make_tenant()

    def send(_: int):
        try:
            return make(acme, "k1").json()["id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(send, range(4)))) == 1
    assert count(acme) == 1


def test_an_answer_with_times_and_amounts_is_kept_as_it_was_sent(acme):
    headers, price = {"Idempotency-Key": "k1"}, {"model": "m", "input_per_million_usd": 1.5}
    client = acme.client(Role.OWNER)
    first, again = (client.post("/api/workspace/prices/", price, content_type="application/json", headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (201, 201, "true")
    assert again.json() == first.json()
