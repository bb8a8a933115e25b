"""The demo's payment: it waits for a person, who is told where to click, and then exactly it runs."""

import threading
from io import StringIO

from django.conf import settings

from orcarouter.demo import payment
from orcarouter.demo.installation import Installation
from orcarouter.demo.screen import Screen


class Out(StringIO):
    def isatty(self) -> bool:
        return False


def approve_what_waits(installation: Installation, over: threading.Event) -> None:
    while not over.wait(0.1):
        for row in installation.ask("GET", "workspace/firewall/approvals")["results"]:
            installation.ask("POST", f"workspace/firewall/approvals/{row['id']}/approve", {"reason": "invoice seen"})


def test_a_payment_waits_and_runs_once_when_it_is_approved(stack, committed, monkeypatch):
    for name in ("HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "BASE_URL", stack.url)
    monkeypatch.setenv("PORT", str(stack.port))
    installation = Installation.found(settings.DATA_DIR)
    key = installation.key(installation.policy(), settings.DATA_DIR / "demo-key")
    out = Out()
    assert payment.play(installation=installation, key=key, screen=Screen(out, 100), wait_seconds=0) == []
    assert "did not run" in out.getvalue()
    over = threading.Event()
    reviewer = threading.Thread(target=approve_what_waits, args=[installation, over])
    reviewer.start()
    out = Out()
    try:
        assert payment.play(installation=installation, key=key, screen=Screen(out, 100), wait_seconds=120) == []
    finally:
        over.set()
        reviewer.join()
    told = out.getvalue()
    assert f"{installation.url}/approvals/" in told
    assert "runs payments__transfer" in told
    assert "that call ran, once" in told
