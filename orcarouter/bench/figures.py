"""The rounds, and what they say: every figure with its target. Source of the targets: docs/performance.md."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from firewall.engine.advertised import decide_advertised
from firewall.engine.afterwards import in_order
from firewall.engine.conditions import Clause
from firewall.engine.decide import decide
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Surface, ToolCall, Verdict
from orcarouter.bench.load import percentile
from orcarouter.bench.provider import CHUNKS, PACE_SECONDS, WAIT_SECONDS
from orcarouter.bench.site import Cost, Site


@dataclass(frozen=True)
class Plan:
    """How long it takes: rounds of each comparison, seconds of each load, calls of the memory's growth; whether a comparison is preceded by a round
    that does not count."""

    rounds: int
    seconds: float
    calls: int
    warms_up: bool = True


QUICK = Plan(rounds=1, seconds=0.1, calls=300, warms_up=False)
DEFAULT = Plan(rounds=5, seconds=1.5, calls=20_000)
LONG = Plan(rounds=9, seconds=4, calls=200_000)
HOUR = 3_600.0


@dataclass(frozen=True)
class Figure:
    """``measured`` None: it could not be, and ``detail`` says why. ``limit`` None: no target, it is watched. ``unit`` is one of ``x ms us % count``."""

    name: str
    limit: float | None
    measured: float | None
    unit: str
    detail: str

    @property
    def is_met(self) -> bool | None:
        return None if self.measured is None or self.limit is None else self.measured <= self.limit


Rounds = dict[str, list[Cost]]


def measure(site: Site, plan: Plan, say: Callable[[str], None]) -> list[Figure]:
    """Every figure, in the order of the table. ``say`` hears what is under way."""
    found: list[Figure] = []
    for title, part in PARTS:
        say(title)
        found += part(site, plan)
    return found


def interleaved(site: Site, plan: Plan, whom: tuple[str, ...], kind: str, connections: int, **more: float) -> Rounds:
    """The same load on each in turn, round after round, so that a neighbour's noise meets all of them. ``more``: as of `Site.ask`."""
    whom = tuple(each for each in whom if each != "nginx" or site.has_nginx)
    for each in whom if plan.warms_up else ():
        site.ask(each, kind, connections=connections, seconds=plan.seconds / 3, **more)
    rounds: Rounds = {each: [] for each in whom}
    for number in range(plan.rounds):
        for each in whom if number % 2 else reversed(whom):
            rounds[each].append(site.ask(each, kind, connections=connections, seconds=plan.seconds, **more))
    return rounds


def _middle(rounds: list[Cost], value: Callable[[Cost], float]) -> float:
    return median(value(cost) for cost in rounds)


def _ratio(above: list[Cost], below: list[Cost], one: Callable[[Cost], float], other: Callable[[Cost], float]) -> float:
    """The median of the rounds' ratios: the two of a round ran next to each other."""
    return median(one(a) / other(b) for a, b in zip(above, below, strict=True))


def _web(cost: Cost) -> float:
    return cost.web_us


def _nginx(cost: Cost) -> float:
    return cost.nginx_us


def _rate(rounds: list[Cost]) -> float:
    return _middle(rounds, lambda cost: cost.sample.rate)


def _against_nginx(name: str, limit: float, rounds: Rounds, load: str) -> Figure:
    governed = rounds["governed"]
    ours = f"{_middle(governed, _web):,.0f} us at {_rate(governed):,.0f} a second"
    if "nginx" not in rounds:
        return Figure(name, limit, None, "x", f"{load}: {ours}; nginx is not installed (apt-get install nginx-light)")
    theirs = f"nginx {_middle(rounds['nginx'], _nginx):,.0f} us at {_rate(rounds['nginx']):,.0f}"
    return Figure(name, limit, _ratio(governed, rounds["nginx"], _web, _nginx), "x", f"{load}: {ours}; {theirs}")


def _against_bare(name: str, limit: float, rounds: Rounds) -> Figure:
    without = f"without a policy {_middle(rounds['bare'], _web):,.0f} us at {_rate(rounds['bare']):,.0f} a second"
    return Figure(name, limit, _ratio(rounds["governed"], rounds["bare"], _web, _web), "x", without)


# --- CPU time ---------------------------------------------------------------------------------------------------------
#: Calls a second, half of what the gateway does on one core: nobody runs it closer to its end. Each server gets the same load, as what a call costs
#: depends on it: in a closed loop nginx does thirty times as many calls, and so finds dozens of sockets ready at each of its wake-ups, which the same
#: calls at the gateway's pace pay for one by one.
RATE = 1_000
#: What counts as having kept a rate: the wait for the last answers is in the time.
KEPT = 0.95


def _kept_rate(site: Site, plan: Plan) -> int:
    """`RATE`, or the half, the quarter ... of it that the gateway keeps here and now."""
    rate = RATE
    while rate > 50 and site.ask("governed", "instant", connections=32, seconds=plan.seconds, rate=rate).sample.rate < KEPT * rate:
        rate //= 2
    return rate


def cpu_of_a_call(site: Site, plan: Plan) -> Iterator[Figure]:
    whom, rate = ("nginx", "governed", "bare"), _kept_rate(site, plan)
    rounds = interleaved(site, plan, whom, "instant", 32, rate=rate)
    found = _against_nginx("CPU a call, 32 connections, every control, over nginx", 16, rounds, f"each server at one rate, {rate:,} calls a second")
    was_kept = all(_rate(costs) >= KEPT * rate for costs in rounds.values())
    yield found if was_kept else replace(found, measured=None, detail=f"not the same load, the machine was too busy; {found.detail}")
    yield _against_bare("the same over our own relay without a policy", 1.8, rounds)
    rounds = interleaved(site, plan, whom, "instant", 32)
    governed = rounds["governed"]
    yield _against_nginx("the same in a closed loop, over nginx", 16, rounds, "each server as fast as it can")
    yield _against_bare("the same over our own relay, in a closed loop", 1.8, rounds)
    detail = f"in the closed loop, at {_rate(governed):,.0f} calls a second"
    yield Figure("PostgreSQL's CPU a call", 100, _middle(governed, lambda cost: cost.postgres_us), "us", detail)
    yield Figure("Valkey's CPU a call", None, _middle(governed, lambda cost: cost.valkey_us), "us", "in the same loop")


def cpu_of_a_stream(site: Site, plan: Plan) -> Iterator[Figure]:
    rounds = interleaved(site, plan, ("nginx", "governed", "bare"), "burst", 16)
    yield _against_nginx(f"CPU of a stream of {CHUNKS} chunks in bursts, over nginx", 2, rounds, "closed loop of 16")
    rounds = interleaved(site, plan, ("nginx", "governed", "bare"), "paced", 16)
    yield _against_nginx(f"CPU of {CHUNKS} chunks, one every {PACE_SECONDS * 1000:.0f} ms, over nginx", 4, rounds, "16 at a time")
    yield _against_bare("the same over our own relay without a policy", 1.15, rounds)


def cpu_of_an_evaluation(site: Site, plan: Plan) -> Iterator[Figure]:
    asked = interleaved(site, plan, ("asking",), "evaluate", 64)["asking"]
    rate, p99 = _rate(asked), _middle(asked, lambda cost: cost.sample.p99_ms)
    web, postgres, kept = (_middle(asked, value) for value in (_web, lambda cost: cost.postgres_us, lambda cost: cost.valkey_us))
    detail = f"gateway {web:,.0f}, PostgreSQL {postgres:,.0f}, Valkey {kept:,.0f} us; {rate:,.0f} a second, p99 {p99:.0f} ms, each committed"
    yield Figure("CPU of an evaluation, 64 clients, all servers together", 1000, web + postgres + kept, "us", detail)


# --- Latency ------------------------------------------------------------------------------------------------------------
def latency_of_one(site: Site, plan: Plan) -> Iterator[Figure]:
    synced = _fdatasync_ms(site.folder)
    rounds = interleaved(site, plan, ("direct", "governed"), "instant", 1)
    detail = f"an fdatasync here takes {percentile(synced, 50):.1f} ms at the median, {percentile(synced, 99):.1f} at p99"
    yield _added("added latency, one client, instant provider, p50", 1.5 + percentile(synced, 50), rounds, lambda cost: cost.sample.p50_ms, detail)
    yield _added("the same, p99", 5 + percentile(synced, 99), rounds, lambda cost: cost.sample.p99_ms, detail)
    rounds = interleaved(site, plan, ("direct", "governed"), "paced", 1)
    straight, ours = (_middle(rounds[whom], lambda cost: cost.sample.passed_p50_ms) for whom in ("direct", "governed"))
    detail = f"one client; from the provider's write to the client's read, by one clock. Without us between them: {straight:.1f} ms"
    yield Figure("first byte of a stream after the provider's, p50", 2, ours, "ms", detail)
    detail = "one client; from its request, so with all that comes before the provider is asked"
    yield _added("added time to a stream's first byte, instant provider, p50", None, rounds, lambda cost: cost.sample.first_p50_ms, detail)


def latency_behind_a_slow_provider(site: Site, plan: Plan) -> Iterator[Figure]:
    """Warm and before saturation: the clients start at different times of the provider's wait, as those of a service do, on connections in use."""
    for clients in (8, 64):
        rounds = interleaved(site, plan, ("direct", "governed"), "wait", clients, spread_seconds=WAIT_SECONDS)
        detail = f"{_rate(rounds['governed']):,.0f} calls a second, the clients' starts spread over the wait"
        yield _added(f"added latency behind 50 ms, {clients} clients, p50", 5, rounds, lambda cost: cost.sample.p50_ms, detail)
        yield _added("the same, p99", 30, rounds, lambda cost: cost.sample.p99_ms, detail)


def _added(name: str, limit: float | None, rounds: Rounds, value: Callable[[Cost], float], detail: str) -> Figure:
    added = median(value(ours) - value(direct) for ours, direct in zip(rounds["governed"], rounds["direct"], strict=True))
    return Figure(name, limit, added, "ms", detail)


def _fdatasync_ms(folder: Path) -> list[float]:
    """What the disk takes to keep 8 KB, as PostgreSQL asks it to at each commit."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(1_000_000))
        for _ in range(100):
            file.seek(0)
            file.write(bytes(8192))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    return took


# --- Counted ------------------------------------------------------------------------------------------------------------
def round_trips(site: Site, plan: Plan) -> Iterator[Figure]:
    site.ask("governed", "instant", connections=1, seconds=plan.seconds, calls=20)
    statements, commands = site.last_statements(), site.valkey_commands()
    calls = site.ask("governed", "instant", connections=1, seconds=plan.seconds, calls=200).sample.calls
    later = site.valkey_commands()
    # What a call waits for goes by EVALSHA; what is only told, by other commands.
    asked = sum(later.get(name, 0) - commands.get(name, 0) for name in ("evalsha", "script|load"))
    moved = sum(began != statements.get(process) for process, began in site.last_statements().items())
    yield Figure("SQL statements before a warm call's dispatch", 0, moved, "count", f"connections of the application that asked anything during {calls} calls")
    yield Figure("Valkey round trips of a warm call", 1, asked / calls, "count", "scripts; what is told without waiting is not counted")


def growth_of_memory(site: Site, plan: Plan) -> Iterator[Figure]:
    """From when it has settled: after as many calls as a twentieth, 10,000 of 200,000. However slow the machine, all of the calls are made."""
    settling = max(plan.calls // 20, 100)
    site.ask("governed", "instant", connections=32, seconds=HOUR, calls=settling)
    before = site.web_memory()
    calls = site.ask("governed", "instant", connections=32, seconds=HOUR, calls=plan.calls).sample.calls
    after = site.web_memory()
    detail = f"{before / 2**20:.1f} to {after / 2**20:.1f} MiB; the target is for 200,000 calls (--long)"
    yield Figure(f"growth of the web process over {calls:,} calls", 3, (after / before - 1) * 100, "%", detail)


# --- Money ----------------------------------------------------------------------------------------------------------------
def cost_of_money(site: Site, plan: Plan) -> Iterator[Figure]:
    before = site.valkey_microseconds()
    rounds = interleaved(site, plan, ("governed", "crowd"), "wait", 64, spread_seconds=WAIT_SECONDS)
    after = site.valkey_microseconds()
    told = {name: [later - sooner for later, sooner in zip(after.get(name, (0, 0)), before.get(name, (0, 0)), strict=True)] for name in ("evalsha", "eval")}
    detail = "the script alone: {:,} calls under a limit of the key and a cap of the run"
    for name, kind in (("admit in Valkey, a call", "evalsha"), ("settle in Valkey, a call", "eval")):
        calls, spent = told[kind]
        yield Figure(name, None, spent / max(calls, 1), "us", detail.format(calls))
    hot, many = (_rate(rounds[whom]) for whom in ("governed", "crowd"))
    detail = f"{hot:,.0f} calls a second over one key, {many:,.0f} over 64"
    yield Figure("64 clients of 64 keys over 64 of one hot key, calls a second", None, many / hot, "x", detail)
    p99 = {whom: _middle(rounds[whom], lambda cost: cost.sample.p99_ms) for whom in ("governed", "crowd")}
    yield Figure("p99 of one hot key over 64 keys", None, p99["governed"] / p99["crowd"], "x", f"{p99['governed']:.1f} ms over {p99['crowd']:.1f} ms")


# --- The firewall alone ---------------------------------------------------------------------------------------------------
def cost_of_rules(site: Site, plan: Plan) -> Iterator[Figure]:
    names = tuple(f"tool{number}__run" for number in range(20))
    policies = {count: _policy(count) for count in (5, 500)}
    took = {count: _took_us(partial(_judge_anew, policy, names)) for count, policy in policies.items()}
    detail = f"{took[5]:.1f} us with 5 rules, {took[500]:.1f} us with 500; each tool judged anew, though its rules are known"
    yield Figure("a policy of 500 rules over one of 5, 20 tools, warm", 2, took[500] / took[5], "x", detail)
    yield Figure("20 tools against 500 rules, warm", 50, took[500], "us", detail)
    again = _took_us(partial(decide_advertised, policies[500], names, RunState()))
    yield Figure("20 tools that were offered before", None, again, "us", "what was said of each is remembered")
    calls = [ToolCall(Surface.RESPONSE, name, ARGUMENTS) for name in names]
    took = {count: _took_us(partial(_judge, _policy_of_calls(count), calls)) for count in (5, 500)}
    detail = f"{took[5]:.1f} us with 5 rules, {took[500]:.1f} us with 500; arguments in each, every fifth an inline sequence"
    yield Figure("500 rules over 5, 20 calls with arguments and sequences", 2, took[500] / took[5], "x", detail)
    yield Figure("a call with arguments against 500 rules and sequences", None, took[500] / len(calls), "us", "one of the twenty")


FORMS = ("tool{}.run", "tool{}.*", "*.run{}", "*.part{}.*", "other{}.tool")
ARGUMENTS = '{"command": "ls -la /srv/app", "timeout": 30, "tags": ["a", "b"], "note": "' + "what it is for " * 10 + '"}'
ABOUT = (("$.command", "regex", r"\brm\s+-rf\b"), ("$.timeout", "gt", 600), ("$.tags[0]", "in", ["x", "y"]), ("$.note", "contains", "secret"))


def _policy(count: int) -> Policy:
    rules = tuple(Rule(number, number, "", None, FORMS[number % 5].format(number), Verdict.ALLOW) for number in range(count))
    return Policy(id=1, name="bench", version=1, default_verdict=Verdict.DENY, shadow_mode=False, rules=rules)


def _policy_of_calls(count: int) -> Policy:
    """Rules that stop calls by what is in them, and none of these: so every rule about a tool is looked at."""
    rules = []
    for number in range(count):
        clause = Clause(*ABOUT[number % len(ABOUT)])
        glob = FORMS[number % 5].format(number)
        steps = (Step(f"tool{number}.*", 3), Step("mail.*"))
        chain = Chain(300, steps, is_inline=True) if number % 5 == 4 else None
        rules.append(Rule(number, number, "", None, "" if chain else glob, Verdict.DENY, args_match=() if chain else (clause,), sequence=chain))
    return Policy(id=2, name="bench", version=1, default_verdict=Verdict.ALLOW, shadow_mode=False, rules=tuple(rules))


def _judge_anew(policy: Policy, names: tuple[str, ...]) -> None:
    policy.offers.clear()
    policy.offered_tools.clear()
    decide_advertised(policy, names, RunState())


def _judge(policy: Policy, calls: list[ToolCall]) -> None:
    in_order(policy, calls, RunState(calls=1), partial(decide, policy))


def _took_us(work: Callable[[], object]) -> float:
    took = []
    for _ in range(60):
        started = time.process_time_ns()
        for _ in range(50):
            work()
        took.append((time.process_time_ns() - started) / 50 / 1000)
    return median(took)


PARTS: tuple[tuple[str, Callable[[Site, Plan], Iterator[Figure]]], ...] = (
    ("CPU time of a call", cpu_of_a_call),
    ("CPU time of a stream", cpu_of_a_stream),
    ("CPU time of an evaluation", cpu_of_an_evaluation),
    ("Latency of one client", latency_of_one),
    ("Latency behind a slow provider", latency_behind_a_slow_provider),
    ("Money", cost_of_money),
    ("Rules", cost_of_rules),
    ("Round trips", round_trips),
    ("Memory", growth_of_memory),
)
