"""The ids a caller sends to tie calls together. Source: spec/decisions.md 5."""

import re
from dataclasses import dataclass

from workspaces.errors import ValidationFailed

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_HEADERS = {
    b"x-orcarouter-session-id": "conversation_id",
    b"x-orcarouter-run-id": "agent_run_id",
    b"x-orcarouter-step-id": "step_id",
    b"x-orcarouter-parent-step-id": "parent_step_id",
}


@dataclass(frozen=True, slots=True)
class Correlation:
    """What the caller said of where this call belongs; None where it said nothing."""

    conversation_id: str | None = None
    agent_run_id: str | None = None
    step_id: str | None = None
    parent_step_id: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """What was said but for the run, which is found out where it was not."""
        if self is NOTHING:
            return {}
        said = {"conversation_id": self.conversation_id, "step_id": self.step_id, "parent_step_id": self.parent_step_id}
        return {name: value for name, value in said.items() if value is not None}


NOTHING = Correlation()


def read(headers: dict[bytes, bytes]) -> Correlation:
    """The ids of the headers. Raises ``ValidationFailed`` naming the header for one that is too long or has other characters."""
    if headers.keys().isdisjoint(_HEADERS):
        return NOTHING
    found = {}
    for header, name in _HEADERS.items():
        value = headers.get(header)
        if value is None:
            continue
        if not _ID.fullmatch(value):
            title = header.decode().title().replace("Orcarouter", "OrcaRouter")
            raise ValidationFailed(f"{title} takes at most 128 of A-Z a-z 0-9 . _ : -", param=title)
        found[name] = value.decode()
    return Correlation(**found)
