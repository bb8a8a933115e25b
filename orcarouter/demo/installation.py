"""The running OrcaRouter, over its management API: the policy and the key that the stories need, and what was decided."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from django.conf import settings

from orcarouter.demo.stories import KEY, KEY_NAME, POLICY, RULES

SECONDS = 30
#: A loopback address is never behind a proxy, whatever the environment says.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotReady(Exception):
    """The stories cannot be played; the message says what to do about it."""


class Refused(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, error: Mapping) -> None:
        super().__init__(error.get("message", f"status {status}"))
        self.status, self.code = status, error.get("code")


class Installation:
    """``url`` is where it answers. Raises ``NotReady`` when it does not, ``Refused`` for an error of its API."""

    def __init__(self, url: str, access_token: str) -> None:
        self.url, self._token = url, access_token

    @classmethod
    def found(cls, data_dir: Path) -> "Installation":
        """The installation of a data folder, by its ``bootstrap.json``. HOST and PORT of the environment win over the file."""
        kept = data_dir / "bootstrap.json"
        if not kept.exists():
            raise NotReady(f"Nothing has run in {data_dir} yet. Start OrcaRouter in another terminal: make run")
        made = json.loads(kept.read_text())
        moved = any(os.environ.get(name) for name in ("HOST", "PORT"))
        installation = cls(settings.BASE_URL if moved else made["base_url"], made["access_token"])
        try:
            installation.ask("GET", "workspace/")
        except Refused as refused:
            raise NotReady(
                f"What answers at {installation.url} does not know the access token in {kept} ({refused}). "
                "Is it another installation? HOST, PORT and ORCAROUTER_DATA must be those of `make run`."
            ) from refused
        return installation

    def ask(self, method: str, path: str, body: Mapping | None = None, query: Mapping | None = None) -> dict:
        """One request under ``/api/``; the answer's JSON, empty for none."""
        address = f"{self.url}/api/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        sent = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(address, sent, headers, method=method)  # noqa: S310 - an address of our own
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _error_of(error.read())) from error
        except OSError as error:
            raise NotReady(f"Nothing answers at {self.url}. Start OrcaRouter in another terminal: make run") from error

    def rows(self, path: str, **query: object) -> Iterator[dict]:
        """Every row of a list, page by page."""
        query = {"limit": 200, **query}
        while query:
            page = self.ask("GET", path, query=query)
            yield from page["results"]
            query = _query_of(page["next"])

    # --- What the stories need ------------------------------------------------------------------------------------------
    def policy(self, wanted: Mapping = POLICY, rules: Sequence[Mapping] = RULES) -> dict:
        """A policy of the demo's, made or brought back to what its stories need."""
        found = next((row for row in self.rows("workspace/firewall/policies") if row["name"] == wanted["name"]), None)
        if found is None:
            return self.ask("POST", "workspace/firewall/policies", {**wanted, "rules": list(rules)})
        policy = self.ask("GET", f"workspace/firewall/policies/{found['id']}")
        if any(policy[name] != value for name, value in wanted.items()):
            policy = self.ask("PATCH", f"workspace/firewall/policies/{found['id']}", wanted)
        if [{name: rule[name] for name in rules[0]} for rule in policy["rules"] if rule["enabled"] and not rule["stage"]] != list(rules):
            for rule in policy["rules"]:
                self.ask("DELETE", f"workspace/firewall/rules/{rule['id']}")
            for fields in rules:
                self.ask("POST", "workspace/firewall/rules", {"policy_id": policy["id"], **fields})
            policy = self.ask("GET", f"workspace/firewall/policies/{found['id']}")
        return policy

    def key(self, policy: Mapping, kept: Path, name: str = KEY_NAME) -> dict:
        """A key of the demo's, bound to the policy, with its plaintext in ``key``.

        The plaintext is shown once, when a key is made, so it is kept in ``kept``; a key whose plaintext is lost is replaced.
        """
        wanted = {
            **KEY,
            "name": name,
            "firewall_policy_id": policy["id"],
            "status": 1,
            "is_frozen": False,
            "model_limits_enabled": False,
            "allow_ips": "",
            "expired_time": -1,
        }
        plaintext = kept.read_text().strip() if kept.exists() else ""
        for found in [row for row in self.rows("token/", q=name) if row["name"] == name]:
            start, _, end = found["key"].partition("****")
            if plaintext.startswith(start) and plaintext.endswith(end):
                return self.ask("PATCH", f"token/{found['id']}/", wanted) | {"key": plaintext}
            self.ask("DELETE", f"token/{found['id']}/")
        made = self.ask("POST", "token/", wanted)
        kept.touch(mode=0o600)
        kept.write_text(made["key"])
        return made

    # --- What was decided -----------------------------------------------------------------------------------------------
    def events(self, request_id: str) -> list[dict]:
        """The decisions of one request, in the order in which they were taken; none where there was nothing to judge."""
        try:
            return self.ask("GET", f"workspace/firewall/events/by-request/{request_id}")["results"]
        except Refused as refused:
            if refused.status != 404:
                raise
            return []

    def trace(self, run_id: str, key_id: int) -> tuple[dict, dict[str, dict]]:
        """A run's totals, and its model calls by request id."""
        calls: dict[str, dict] = {}
        query = {"run_id": run_id, "key_id": key_id}
        while query:
            page = self.ask("GET", "workspace/firewall/trace/by-run", query=query)
            calls |= {node["request_id"]: node for node in page["nodes"] if node["kind"] == "model_call"}
            query = _query_of(page["next"])
        return page["run"], calls


def _query_of(link: str | None) -> dict:
    """The query of a page's link; empty where there is none."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link or "").query))


def _error_of(body: bytes) -> Mapping:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
