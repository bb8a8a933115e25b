"""What a reviewer sees of arguments can be kept and shown, whatever a model wrote."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.engine.shown import REDACTED, redacted
from tests.figures import dear

ANY_TEXT = st.text(max_size=20)


@dear
@given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=4), st.booleans())
def test_whatever_a_model_wrote_can_be_kept(arguments, as_ascii):
    redacted(json.dumps(arguments, ensure_ascii=as_ascii)).encode()


@pytest.mark.parametrize("arguments", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": "\ud800"}', "not JSON \ud800 \x00", '["\\ud800"]'])
def test_half_a_surrogate_pair_is_shown_as_no_character(arguments):
    shown = redacted(arguments)
    assert "\x00" not in shown.encode().decode()


def test_a_secret_by_its_name_or_its_look_is_not_shown():
    shown = redacted('{"api_key": "hunter2", "note": "use sk-orca-' + "x" * 48 + '", "amount": 4180}')
    assert json.loads(shown) == {"api_key": REDACTED, "note": json.loads(shown)["note"], "amount": 4180}
    assert "x" * 48 not in shown
    assert "hunter2" not in shown
