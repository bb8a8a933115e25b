"""Signing in: throttled where nobody can evade it, closed to strangers, ended by time."""

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from tests.factories.workspaces import PASSWORD
from workspaces import valkey
from workspaces.permissions import Role

LOGIN = "/account/login/"


@pytest.fixture
def valkey_away(settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    valkey.client.cache_clear()
    yield
    valkey.client.cache_clear()


def sign_in(email: str, password: str, **extra):
    return Client().post(LOGIN, {"login": email, "password": password}, **extra)


def is_in(answer) -> bool:
    return answer.status_code == 302


def test_the_right_password_signs_in_whatever_the_letters_case(acme):
    assert is_in(sign_in("Owner@Acme.example", PASSWORD))
    assert not is_in(sign_in("owner@acme.example", "wrong"))


def test_an_address_is_throttled_even_for_the_right_password_with_valkey_away(acme, valkey_away):
    """Not by the header anyone may send, nor by the port in Host, nor by another spelling of the address."""
    for n in range(5):
        sign_in(
            "owner@acme.example" if n % 2 else " OWNER@acme.example",
            "wrong",
            REMOTE_ADDR=f"198.51.100.{n}",
            HTTP_X_FORWARDED_FOR=f"203.0.113.{n}",
            HTTP_HOST=f"localhost:{8000 + n}",
        )
    assert not is_in(sign_in("owner@acme.example", PASSWORD, REMOTE_ADDR="198.51.100.77", HTTP_HOST="127.0.0.1:1"))
    assert is_in(sign_in("admin@acme.example", PASSWORD, REMOTE_ADDR="198.51.100.77"))


def test_attempts_at_many_addresses_do_not_push_the_count_of_one_out(acme):
    for _ in range(5):
        sign_in("owner@acme.example", "wrong")
    for n in range(400):
        cache.set(f"allauth:rl:somebody{n}", [0.0], 300)
    assert not is_in(sign_in("owner@acme.example", PASSWORD, REMOTE_ADDR="198.51.100.77"))


def test_a_source_is_throttled_whatever_it_says_of_itself(acme, valkey_away):
    for n in range(10):
        sign_in(f"somebody{n}@example.com", "wrong", REMOTE_ADDR="198.51.100.9", HTTP_X_FORWARDED_FOR=f"203.0.113.{n}")
    assert not is_in(sign_in("owner@acme.example", PASSWORD, REMOTE_ADDR="198.51.100.9", HTTP_X_FORWARDED_FOR="203.0.113.200"))
    assert is_in(sign_in("owner@acme.example", PASSWORD, REMOTE_ADDR="198.51.100.10"))


def test_behind_a_trusted_proxy_the_client_it_names_is_throttled(acme, settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    for n in range(10):
        sign_in(f"somebody{n}@example.com", "wrong", REMOTE_ADDR="10.0.0.5", HTTP_X_FORWARDED_FOR=f"203.0.113.{n}, 198.51.100.9")
    assert not is_in(sign_in("owner@acme.example", PASSWORD, REMOTE_ADDR="10.0.0.5", HTTP_X_FORWARDED_FOR="198.51.100.9"))
    assert is_in(sign_in("owner@acme.example", PASSWORD, REMOTE_ADDR="10.0.0.5", HTTP_X_FORWARDED_FOR="198.51.100.10"))


def test_a_successful_sign_in_does_not_use_the_attempts_up(acme):
    for _ in range(8):
        assert is_in(sign_in("owner@acme.example", PASSWORD))


def test_a_stranger_makes_no_account(db):
    body = {"email": "me@example.com", "password1": PASSWORD}
    assert Client().get("/account/signup/").status_code == 404
    assert Client().post("/account/signup/", body).status_code == 404


def test_somebody_signed_in_proves_it_again(acme):
    """What shows a secret again asks for this; it needs the address that the account has."""
    client = acme.client(Role.OWNER)
    assert client.post("/account/reauthenticate/", {"password": "wrong"}).status_code == 200
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302


@pytest.mark.parametrize(("gap", "times", "status"), [(timedelta(hours=11), 3, 200), (timedelta(hours=12, minutes=2), 1, 401), (timedelta(hours=11), 16, 401)])
def test_a_session_ends_idle_or_after_seven_days(acme, gap, times, status):
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        client = Client()
        client.post(LOGIN, {"login": "owner@acme.example", "password": PASSWORD})
        assert client.get("/api/workspace/").status_code == 200
        for _ in range(times):
            clock.shift(gap)
            answer = client.get("/api/workspace/")
    assert answer.status_code == status


@pytest.mark.parametrize("key", ['"aaaaaaaaaaaa\\000"', '"aaaaaaaaaaaa\\351"', "a" * 5000])
def test_a_cookie_that_is_no_sessions_key_is_nobody(db, key):
    client = Client(headers={"Cookie": f"sessionid={key}"})
    assert [client.get(path).status_code for path in (LOGIN, "/api/workspace/")] == [200, 401]


def test_a_session_without_the_csrf_token_writes_nothing(acme):
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.person(Role.OWNER))
    answer = client.patch("/api/workspace/", {"name": "x"}, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    page = client.post("/members/invite/", {"email": "a@example.com", "role": "1"})
    assert (page.status_code, "<html" in page.content.decode()) == (403, True)


def test_without_a_mail_server_no_reset_is_offered_and_none_can_be_asked_for(acme):
    assert "password/reset" not in Client().get(LOGIN).content.decode()
    for path in ("/account/password/reset/", "/account/password/reset/done/", "/account/password/reset/key/1-x/"):
        assert Client().get(path).status_code == 404
        assert Client().post(path, {"email": "owner@acme.example"}).status_code == 404
