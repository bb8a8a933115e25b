"""`manage.py demo` against the running product: what it tells, what it needs, and that it notices a wrong ending."""

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.urls import resolve

from orcarouter.demo import runaway
from orcarouter.demo.agent import MOST_TURNS
from orcarouter.demo.installation import Installation
from orcarouter.demo.play import Ran, play, wrong_with
from orcarouter.demo.screen import Screen
from orcarouter.demo.stories import KEY, POLICY, RULES, STORIES, Ending
from tests.stack import ROOT, Stack, free_port


def demo(data_dir: Path, port: int | None, *arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in {"HOST", "PORT"}}
    environment |= {"ORCAROUTER_DATA": str(data_dir), "COLUMNS": "100"} | ({"PORT": str(port)} if port else {})
    command = [sys.executable, "manage.py", "demo", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def installation(stack: Stack, committed, monkeypatch) -> Installation:
    """The running stack, with its first workspace."""
    call_command("bootstrap", stdout=StringIO())
    monkeypatch.setenv("PORT", str(stack.port))
    monkeypatch.setattr(settings, "BASE_URL", stack.url)
    return Installation.found(settings.DATA_DIR)


@pytest.fixture
def key(installation: Installation) -> dict:
    return installation.key(installation.policy(), settings.DATA_DIR / "demo-key")


@pytest.mark.stack
def test_the_three_stories_end_as_they_should(stack, installation):
    played = demo(stack.data_dir, stack.port)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "3 of 3" in played.stdout
    assert "NOT SO" not in played.stdout
    assert "\x1b" not in played.stdout  # no terminal, no colour
    assert not played.stderr.strip()
    links = re.findall(r"run  (http\S+)", played.stdout)
    assert [resolve(link.removeprefix(stack.url)).view_name for link in links] == ["console:run"] * 4
    assert "of $0.01" in played.stdout
    assert "stopped at its cap" in played.stdout


@pytest.mark.stack
def test_a_story_can_be_played_alone(stack, installation):
    played = demo(stack.data_dir, stack.port, "injection")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "A page that gives orders" in played.stdout
    assert "1 of 1" in played.stdout


@pytest.mark.stack
def test_a_loop_that_no_cap_ends_is_noticed(installation):
    key = installation.key(installation.policy(runaway.POLICY, runaway.RULES), settings.DATA_DIR / "demo-runaway-key", runaway.KEY_NAME)
    told = io.StringIO()
    problems = runaway.play(installation=installation, key=key, screen=Screen(told), most_turns=3)
    assert ["otherwise" in problem for problem in problems] == [True]
    assert "NOT SO" in told.getvalue()


@pytest.mark.stack
def test_what_it_needs_is_made_once_and_put_right(installation, key):
    policy = installation.policy()
    for rule in policy["rules"]:
        installation.ask("DELETE", f"workspace/firewall/rules/{rule['id']}")
    installation.ask("POST", "workspace/firewall/rules", {"policy_id": policy["id"], "verdict": "allow", "tool_name_glob": "*"})
    installation.ask("PATCH", f"workspace/firewall/policies/{policy['id']}", {"shadow_mode": True, "default_verdict": "allow"})
    installation.ask("PATCH", f"token/{key['id']}/", {"firewall_policy_id": 0, "status": 2})

    mended = installation.policy()
    again = installation.key(mended, settings.DATA_DIR / "demo-key")
    assert (mended["id"], mended["default_verdict"], mended["shadow_mode"]) == (policy["id"], "deny", False)
    rules = [(rule["priority"], rule["tool_name_glob"], rule["verdict"]) for rule in mended["rules"]]
    assert rules == [(10, "web.search", "allow"), (20, "kb.*", "allow"), (30, "payments.*", "pending_approval")]
    assert (again["id"], again["key"]) == (key["id"], key["key"])
    assert (again["status"], again["firewall_policy_id"]) == (1, policy["id"])
    assert installation.policy()["version"] == mended["version"]  # nothing to put right, nothing written


@pytest.mark.stack
def test_a_key_whose_plaintext_is_lost_is_replaced(installation, key):
    kept = settings.DATA_DIR / "demo-key"
    assert kept.stat().st_mode & 0o077 == 0
    kept.unlink()
    made = installation.key(installation.policy(), kept)
    assert made["id"] != key["id"]
    assert [row["id"] for row in installation.rows("token/", q=KEY["name"])] == [made["id"]]


@pytest.mark.stack
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.slug)
def test_a_story_that_ends_otherwise_is_noticed(installation, key, story):
    told = io.StringIO()
    assert play(replace(story, ending=Ending(ran=frozenset({"payments__send"}))), installation=installation, key=key, screen=Screen(told))
    assert "NOT SO" in told.getvalue()


@pytest.mark.stack
def test_a_gateway_that_lets_a_call_through_is_noticed(installation, key):
    """The same stories under a policy that denies nothing: the agent runs what the page told it to."""
    injection = next(story for story in STORIES if story.slug == "injection")
    policy = installation.policy()
    installation.ask("PATCH", f"workspace/firewall/policies/{policy['id']}", {"default_verdict": "allow"})
    problems = play(injection, installation=installation, key=key, screen=Screen(io.StringIO()))
    assert any("email__send, shell__exec, web__search" in problem for problem in problems)


def test_it_says_how_to_start_what_does_not_run(tmp_path):
    fresh = demo(tmp_path, None)
    assert fresh.returncode == 1
    assert "make run" in fresh.stderr

    (tmp_path / "bootstrap.json").write_text(f'{{"base_url": "http://127.0.0.1:{free_port()}", "access_token": "orca-pat-x"}}')
    stopped = demo(tmp_path, None)
    assert stopped.returncode == 1
    assert "Nothing answers at http://127.0.0.1:" in stopped.stderr
    assert "make run" in stopped.stderr
    assert "Traceback" not in stopped.stderr


@pytest.mark.stack
def test_it_says_when_another_installation_answers(stack, installation, tmp_path):
    (tmp_path / "bootstrap.json").write_text(f'{{"base_url": "{stack.url}", "access_token": "orca-pat-unknown"}}')
    played = demo(tmp_path, None)
    assert played.returncode == 1
    assert "another installation" in played.stderr


def test_an_ending_names_what_is_wrong():
    call = {"surface": "response", "request_id": "req_1", "tool_name": "web__search", "verdict": "allow"}
    good = Ran("run", ran=["web__search"], events=[call], reached=[("req_1", "web__search")])
    assert wrong_with(good, Ending(ran=frozenset({"web__search"}))) == []
    assert "without an event" in wrong_with(replace(good, events=[]), Ending(ran=frozenset({"web__search"})))[0]
    denied = replace(good, events=[call, call | {"verdict": "deny", "tool_name": "shell__exec"}])
    assert "shell__exec × 1" in wrong_with(denied, Ending(ran=frozenset({"web__search"})))[0]
    offered = replace(good, events=[call, call | {"surface": "inbound", "verdict": "deny", "tool_name": "shell__exec"}])
    assert "Refused on offer: shell__exec" in wrong_with(offered, Ending(ran=frozenset({"web__search"})))[0]


def test_stories_are_told_apart_and_end():
    assert len({story.slug for story in STORIES}) == len(STORIES)
    assert all(len(story.nudges) < MOST_TURNS for story in STORIES)
    assert POLICY["default_verdict"] == "deny"
    assert all(rule["label"] for rule in RULES)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 80, 300])
def test_no_line_is_wider_than_the_screen(width):
    out = io.StringIO()
    screen = Screen(out, width)
    screen.heading("1 of 3", "A title")
    screen.prose("word " * 60)
    screen.says("gateway", "long" * 60 + " and words " * 20, word="deny")
    assert max(map(len, out.getvalue().splitlines())) <= min(width, 110)


def test_colour_is_for_terminals_that_want_it(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    coloured = Terminal()
    Screen(coloured, 80).says("gateway", "no rule matched", word="deny")
    assert "\x1b[31mdeny\x1b[0m" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Screen(plain, 80).says("gateway", "no rule matched", word="deny")
    assert plain.getvalue() == "  gateway  deny   no rule matched\n"


def test_what_a_model_wrote_does_not_steer_the_terminal():
    out = Terminal()
    Screen(out, 80).says("model", "before \x1b[2J\x07 after")
    assert "\x1b[2J" not in out.getvalue()
    assert "\x07" not in out.getvalue()
