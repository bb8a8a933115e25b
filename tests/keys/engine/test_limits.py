"""What people write as limits."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.engine import limits, model_lines
from keys.engine.model_lines import ModelLine
from tests.figures import dear


def test_networks_come_one_a_line_or_with_commas_and_are_made_canonical():
    written = " 203.0.113.7 \r\n10.1.2.3/8, 2001:DB8::/32\n\n::ffff:192.0.2.1,203.0.113.7"
    assert limits.networks(written) == [
        "203.0.113.7",
        "10.0.0.0/8",
        "2001:db8::/32",
        "192.0.2.1",
    ]
    assert limits.networks(" \n ") == []


def test_a_wrong_network_is_named():
    with pytest.raises(ValueError, match=r"'10\.0\.0\.300' is not an IP address"):
        limits.networks("10.0.0.1\n10.0.0.300")
    with pytest.raises(ValueError, match="At most 200"):
        limits.networks("\n".join(f"10.0.{n // 256}.{n % 256}" for n in range(201)))


def test_models_come_as_a_list_or_as_text():
    assert limits.models("a, b\nc,,a") == limits.models(["a", " b ", "c", ""]) == ["a", "b", "c"]
    for wrong in ["x" * 129, "a\x00b", "a\ud800"]:
        with pytest.raises(ValueError, match="is not a model name"):
            limits.models([wrong])


@pytest.mark.parametrize("entry", ["gpt-4*", "*mini", "gpt.*.x", "**"])
def test_a_star_that_stands_for_nothing_is_refused(entry):
    with pytest.raises(ValueError, match="matches no model"):
        limits.models(entry)
    assert limits.models("*, gpt-4.*, *.mini, *.4.*") == ["*", "gpt-4.*", "*.mini", "*.4.*"]


def test_an_environment_is_trimmed_and_cut_not_refused():
    assert limits.environment("  prod ") == "prod"
    assert limits.environment("x" * 40) == "x" * 32
    assert limits.environment("x" * 31 + "  y") == "x" * 31


def test_an_expiry_is_absolute_and_minus_one_is_never():
    assert limits.expiry(-1) is None
    assert limits.expiry(0) == datetime(1970, 1, 1, tzinfo=UTC)
    for wrong in (-2, limits.LATEST + 1):
        with pytest.raises(ValueError, match="Unix seconds"):
            limits.expiry(wrong)


names = st.from_regex(r"[A-Za-z0-9./:_*-]{1,40}", fullmatch=True)
prices = st.none() | st.decimals(0, 999_999_999, places=6)


@dear
@given(st.lists(st.builds(ModelLine, names, st.just("") | names, prices, prices), max_size=5))
def test_model_lines_are_read_back_as_they_were_written(lines):
    kept = [ModelLine(line.name, "" if line.upstream == line.name else line.upstream, line.input_usd, line.output_usd) for line in lines]
    assert model_lines.parse(model_lines.write(lines)) == kept


def test_a_model_line_says_name_upstream_and_price():
    assert model_lines.parse("gpt-4o\n\n fast = openai/gpt-4o-mini @ $0.15 / 0.60\nx @ -/2") == [
        ModelLine("gpt-4o"),
        ModelLine("fast", "openai/gpt-4o-mini", Decimal("0.15"), Decimal("0.60")),
        ModelLine("x", "", None, Decimal(2)),
    ]
    for wrong in ("a b", "a = b = c", "a @ 1", "a @ 1.2.3 / 4", "= b", "a @ 1 / 1e9"):
        with pytest.raises(ValueError, match="Line 2"):
            model_lines.parse(f"fine\n{wrong}")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    for read in (limits.networks, limits.models, model_lines.parse):
        with suppress(ValueError):
            read(text)
