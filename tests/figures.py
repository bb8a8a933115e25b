"""How many cases each law tries, by HYPOTHESIS_PROFILE: as many as what one of its cases costs allows.

``default`` is for every change, and takes the same cases each time, so that what passes here passes anywhere. ``long`` draws
new ones; all of it is within an hour on two quiet cores. ``quick`` is for who is at work on a law.
"""

import os

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")


def _figure(default: int, *, long: int, quick: int) -> int:
    return {"default": default, "long": long, "quick": quick}[PROFILE]


# What a law tries that says nothing: a case is values alone, and a millisecond, most of which goes into drawing it.
settings.register_profile(
    PROFILE,
    max_examples=_figure(2_000, long=20_000, quick=100),
    derandomize=PROFILE == "default",
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def _tried(cases: int) -> settings:
    return settings(settings.get_profile(PROFILE), max_examples=cases)


#: What the engine decides is what the naive interpreter does: there are too many policies to try fewer.
promised = _tried(_figure(2_000, long=100_000, quick=100))
#: Whole policies, runs or documents: a case takes several milliseconds.
dear = _tried(_figure(400, long=10_000, quick=50))
#: A case is some requests to servers that run in the same process, at 10 ms.
served = _tried(_figure(100, long=2_000, quick=50))
#: A case is a history of up to ten calls, each of which goes through Valkey and PostgreSQL twice, at 100 ms.
stored = _tried(_figure(150, long=1_000, quick=50))
#: A case is a policy saved and up to two dozen requests of the running product, at half a second.
lived = _tried(_figure(12, long=150, quick=12))
#: Of each route two laws: a case is one request of the running product, and there are over two hundred laws.
explored = _tried(_figure(10, long=100, quick=10))

#: Calls that are made while the servers are killed one after the other.
CALLS = _figure(400, long=10_000, quick=150)
#: Holds that people, agents, the sweep and the clock end at once.
HOLDS = _figure(100, long=10_000, quick=100)
