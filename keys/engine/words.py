"""What a key's limits mean, in words: the sentence beside the editor, the least-agency checklist, and what a change opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Protocol

from keys.engine.ceilings import NO_LIMITS, Limits
from keys.engine.scope import ModelList, Scope
from workspaces import money
from workspaces.engine.addresses import Network

#: More than these are counted rather than named.
NAMED = 3


class PolicyWords(Protocol):
    """What a policy is called and whether it blocks; a row or a compiled policy."""

    name: str
    shadow_mode: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """One line of the least-agency checklist. ``fix`` names what the editor proposes to close it; empty: nothing can yet.

    Source: spec/platform.md 1.4.
    """

    name: str
    is_closed: bool
    says: str
    fix: str = ""


def gates(scope: Scope, limits: Limits, policy: PolicyWords | None, at: datetime) -> tuple[Gate, ...]:
    """Models, addresses, credit, expiry, guardrail, policy; ``policy`` is the one in force, the key's own or the workspace's default."""
    effect = "shadow: blocks nothing yet" if policy and policy.shadow_mode else "enforcing"
    judged = f"{policy.name}, {effect}" if policy else "none: every tool call passes"
    whole = is_anywhere(scope.networks)
    return (
        Gate("Models", scope.models is not None and not is_any_model(scope.models), _models(scope), "models"),
        Gate("Addresses", not whole, f"{_addresses(scope)}{': a leaked key works from anywhere' if whole else ''}", "addresses"),
        Gate("Credit", is_capped(limits), _credit(limits) or "no ceiling of its own", "credit"),
        Gate("Expiry", scope.expires_at is not None, _expiry(scope.expires_at, at), "expires"),
        Gate("Guardrail", False, "none: guardrails come with a later version"),
        Gate("Policy", policy is not None and not policy.shadow_mode, judged, "policy"),
    )


def is_any_model(models: ModelList) -> bool:
    """Whether a list lists nothing, as it has the glob of every name."""
    return "*" in models.entries


def is_anywhere(networks: Sequence[Network]) -> bool:
    """Whether these are every address, or every one of IPv4 or of IPv6, whatever they are put together of. None at all is any address."""
    of_4 = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    of_6 = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return not networks or any(network.prefixlen == 0 for network in of_4) or any(network.prefixlen == 0 for network in of_6)


def is_capped(limits: Limits) -> bool:
    """Whether the key has a ceiling of its own, for its life or for a cycle."""
    return bool(limits.credit_limit_micro_usd or limits.cycle_limit_micro_usd)


def sentence(scope: Scope, limits: Limits, policy: PolicyWords | None, at: datetime) -> str:
    """What the key may do, for somebody who is about to save it."""
    where = _addresses(scope)
    spends = f"it may spend {_credit(limits)}" if is_capped(limits) else "it may spend without a ceiling of its own"
    says = f"It may call {_models(scope)} from {where}; {spends}; it {_expiry(scope.expires_at, at)}."
    if policy is None:
        return f"{says} No policy judges its tools: every tool call passes."
    if policy.shadow_mode:
        return f"{says} {policy.name} judges its tools, in shadow: nothing is blocked yet."
    return f"{says} {policy.name} judges its tools."


@dataclass(frozen=True, slots=True)
class Openness:
    """How far a key reaches. ``policy`` is the name of the attached one, None for the workspace's default."""

    scope: Scope
    policy: str | None
    is_gateway: bool
    limits: Limits = NO_LIMITS


def loosened(before: Openness, after: Openness) -> list[str]:
    """What a change opens, one sentence each; empty for a change that only narrows or renames."""
    found = [_more_models(before.scope, after.scope), _more_addresses(before.scope, after.scope), _more_time(before.scope, after.scope)]
    found += _more_money(before.limits, after.limits)
    if before.policy is not None and after.policy != before.policy:
        found.append(f"{before.policy} no longer judges its tools; {after.policy or 'the workspace default, if there is one,'} does.")
    if after.is_gateway and not before.is_gateway:
        found.append("It may use the firewall's own routes, which show decrypted credentials of MCP servers.")
    return [sentence for sentence in found if sentence]


def _more_models(was: Scope, becomes: Scope) -> str | None:
    if was.models is None or is_any_model(was.models):
        return None
    if becomes.models is None or is_any_model(becomes.models):
        return "It may call any model."
    # A glob within a wider one matches it as it is spelled.
    added = [entry for entry in becomes.models.entries if not was.models.has(entry) and entry not in was.models.entries]
    return f"It may call {_named(added)} as well." if added else None


def _more_addresses(was: Scope, becomes: Scope) -> str | None:
    if not was.networks:
        return None
    if not becomes.networks or (is_anywhere(becomes.networks) and not is_anywhere(was.networks)):
        return "It works from any address."
    added = [str(network) for network in becomes.networks if not _is_within_any(network, was.networks)]
    return f"It works from {_named(added)} as well." if added else None


def _more_time(was: Scope, becomes: Scope) -> str | None:
    if was.expires_at is None:
        return None
    if becomes.expires_at is None:
        return "It never expires."
    return f"It lives until {_moment(becomes.expires_at)}." if becomes.expires_at > was.expires_at else None


def _more_money(was: Limits, becomes: Limits) -> list[str]:
    found = []
    if was.credit_limit_micro_usd and not becomes.credit_limit_micro_usd:
        found.append("It has no ceiling over its life any more.")
    elif was.credit_limit_micro_usd and becomes.credit_limit_micro_usd > was.credit_limit_micro_usd:
        found.append(f"It may spend {usd(becomes.credit_limit_micro_usd)} in all, {usd(was.credit_limit_micro_usd)} until now.")
    had, has = was.cycle_limit_micro_usd, becomes.cycle_limit_micro_usd
    if had and (not has or _DAYS[becomes.cycle] * had < _DAYS[was.cycle] * has):
        until_now = f"{usd(had)} a {was.cycle} until now"
        found.append(f"It may spend {usd(has)} a {becomes.cycle}, {until_now}." if has else f"It has no ceiling a {was.cycle} any more, {until_now}.")
    return found


#: How cycles compare.
_DAYS = {"day": 1, "week": 7, "month": 30}


def _credit(limits: Limits) -> str:
    parts = [f"{usd(limits.cycle_limit_micro_usd)} a {limits.cycle}"] if limits.cycle_limit_micro_usd else []
    if limits.credit_limit_micro_usd:
        parts.append(f"{usd(limits.credit_limit_micro_usd)} in all")
    return ", ".join(parts)


def usd(micro_usd: int) -> str:
    """Dollars as a limit is written: $15, $0.50, $0.000125."""
    amount = money.to_usd(micro_usd)
    if amount == amount.to_integral_value():
        return f"${amount:,.0f}"
    return f"${amount:,.2f}" if not micro_usd % money.MICRO_PER_CENT else f"${amount:,.6f}".rstrip("0")


def _models(scope: Scope) -> str:
    if scope.models is None or is_any_model(scope.models):
        return "any model"
    return _named(scope.models.entries, "model") if scope.models else "no model at all"


def _addresses(scope: Scope) -> str:
    if not scope.networks:
        return "any address"
    return _named([str(network.network_address) if network.num_addresses == 1 else str(network) for network in scope.networks], "network")


def _expiry(expires_at: datetime | None, at: datetime) -> str:
    if expires_at is None:
        return "never expires"
    return f"{'expired' if expires_at <= at else 'expires'} on {_moment(expires_at)}"


def _moment(at: datetime) -> str:
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def _named(entries: Sequence[str], what: str = "") -> str:
    if what and len(entries) > NAMED:
        return f"{len(entries)} listed {what}s"
    shown = [*entries[:NAMED], *([f"{len(entries) - NAMED} more"] if len(entries) > NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _is_within_any(network: Network, others: Sequence[Network]) -> bool:
    return any(network.version == other.version and network.subnet_of(other) for other in others)  # type: ignore[arg-type]
