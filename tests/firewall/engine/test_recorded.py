"""What an event keeps of a judgement comes back as it was, and only where the judgement rested on it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from firewall.engine.destinations import destination, destinations
from firewall.engine.recorded import destinations_of, judged_on, knows_sequences, run_of
from firewall.engine.sequence import Chain, Step
from firewall.engine.types import Policy, Rule, RunState, Verdict
from tests.figures import dear

PLAIN = Policy(1, "agents", 1, Verdict.DENY, False, ())
CHAIN = Chain(0, (Step("kb.*"),))
FOLLOWS = Policy(1, "agents", 1, Verdict.DENY, False, (Rule(1, 1, "", None, "", Verdict.DENY, sequence=CHAIN),))
numbers = st.integers(0, 2**53)
progress = st.lists(st.none() | numbers, max_size=4).map(tuple)
runs = st.builds(
    RunState, numbers, numbers, numbers, st.none() | numbers, runs_this_hour=numbers, at_ms=numbers, chains=st.dictionaries(st.text(), progress, max_size=3)
)
of_texts = st.sampled_from(["a.example", "10.0.0.1", "metadata", "user@@x", "[::1]:80", "10-0-0-1.nip.io", "http://010.1/"]).map(destination)
of_arguments = st.sampled_from([{"target": "a.example"}, {"command": "curl http://10.0.0.1"}]).map(lambda each: destinations(each)[0])
places = st.lists(of_texts | of_arguments, max_size=3).map(tuple)


@dear
@given(runs, st.none() | places)
def test_a_run_and_its_destinations_come_back_as_they_were(run, to):
    kept = json.loads(json.dumps(judged_on(FOLLOWS, run, to)))
    assert (run_of(kept), destinations_of(kept)) == (run, to)


@dear
@given(runs.map(lambda run: RunState(run.calls, run.spent_micro_usd)))
def test_a_judgement_that_rests_on_the_call_alone_keeps_nothing(run):
    assert judged_on(PLAIN, run) is None
    assert judged_on(None, run) is None
    assert (run_of(None), destinations_of(None)) == (None, None)


def test_progress_beyond_all_measure_is_not_kept():
    kept = judged_on(FOLLOWS, RunState(chains={"a": (1,) * 201}))
    assert not knows_sequences(kept)
    assert knows_sequences(judged_on(FOLLOWS, RunState()))


def test_what_cannot_be_read_is_kept_in_signs_that_the_record_can_hold():
    kept = judged_on(PLAIN, RunState(), tuple(map(destination, ("\0", "a\ud800.example", "http://[\x1b]/"))))
    assert json.dumps(kept, ensure_ascii=False).encode().isascii()
    assert "\\u0000" not in json.dumps(kept)
    assert all(each.is_unreadable for each in destinations_of(kept) or ())
