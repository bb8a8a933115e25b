"""What the console's filters and tags write, and that nothing an agent sent can become markup or stay invisible."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import time_machine
from django import forms
from django.template import engines
from django.test import RequestFactory
from django_cotton.compiler_regex import CottonCompiler
from hypothesis import given
from hypothesis import strategies as st

from tests.figures import dear
from workspaces.permissions import Role
from workspaces.templatetags import _charts, orca

NOW = datetime(2026, 11, 17, 14, 32, tzinfo=UTC)


def render(source: str, **context: object) -> str:
    return engines["django"].from_string("{% load orca %}" + source).render(context, RequestFactory().get("/policies/7"))


@pytest.mark.parametrize(
    ("micro_usd", "words"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (214_080_000, "$214.08"),
        (4_180_000_000, "$4,180.00"),
        (14_200, "$0.0142"),
        (410_000, "$0.41"),
        (7, "< $0.0001"),
        (-2_500_000, "−$2.50"),
    ],
)
def test_an_unknown_price_is_never_zero_and_a_small_one_is_never_nothing(micro_usd, words):
    assert orca.usd(micro_usd) == words


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(seconds=-24), "24 s ago"),
        (timedelta(minutes=-6), "6 min ago"),
        (timedelta(hours=-9), "9 h ago"),
        (timedelta(days=-1), "1 day ago"),
        (timedelta(days=-15), "2 Nov"),
        (timedelta(days=-400), "13 Oct 2025"),
        (timedelta(days=90) - timedelta(minutes=3), "in 90 days"),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_times_are_relative_while_that_helps(away, words):
    assert orca.ago(NOW + away) == words
    assert orca.ago(None) == "never"


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0.3, "< 1 ms"), (420, "420 ms"), (14_800, "14.8 s"), (103_000, "1 min 43 s"), (8_040_000, "2 h 14 min"), (580_800_000, "6 d 17 h")],
)
def test_durations_keep_two_units_at_most(milliseconds, words):
    assert orca.duration(milliseconds) == words


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("keys.apikey", "key"),
        ("keys.apikey:3", "key 3"),
        ("firewall.policy:1", "policy 1"),
        ("workspaces.accesstoken", "access token"),
        ("gone.kind:4", "gone.kind:4"),
        ("x", "x"),
        ("", ""),
    ],
)
def test_an_audit_entrys_target_is_said_in_words(target, words):
    assert orca.target_words(target) == words


def test_an_audit_entrys_action_is_said_in_words():
    assert orca.action_words("firewall_policy_create") == "Firewall policy created"
    assert (orca.action_words("key_freeze"), orca.action_words("")) == ("Key freeze", "")


def test_a_short_bar_at_the_very_end_stays_on_its_track():
    assert (orca.bar_from(67_000, 67_008), orca.bar_of(8, 67_008)) == ("98.80%", "1.20%")
    assert (orca.bar_from(250, 1_000), orca.bar_of(500, 1_000)) == ("25.00%", "50.00%")


def test_counts_stay_short():
    assert [orca.compact(n) for n in (0, 18_402, 250_000, 1_200_000, 3_000_000_000, None)] == ["0", "18,402", "250 k", "1.2 M", "3 G", "–"]


@given(st.text())
def test_no_name_an_agent_sends_becomes_markup_or_stays_invisible(name):
    shown = str(orca.tool_name(name))
    assert not {"<", ">", '"'} & set(shown.replace('<span class="ctrl">', "").replace("</span>", ""))
    assert shown.isprintable()


def test_a_bidi_override_in_a_tool_name_is_shown_as_its_code_point():
    assert orca.tool_name("kb\u202eread") == 'kb<span class="ctrl">U+202E</span>read'
    assert orca.tool_name("kb\u00a0read d") == 'kb<span class="ctrl">U+00A0</span>read d'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@dear
@given(JSON, st.lists(st.text(min_size=1), max_size=3))
def test_arguments_are_shown_escaped_whatever_they_hold(value, marks):
    shown = render("{% json_view value marks %}", value=value, marks=marks)
    for ours in ('<span class="k">', '<span class="ctrl">', "</span>", "<mark>", "</mark>", '<details class="fold">', "<summary>", "</summary>", "</details>"):
        shown = shown.replace(ours, "")
    assert "<" not in shown
    assert ">" not in shown


def test_arguments_that_nest_without_end_are_still_shown():
    assert orca.json_view("[" * 100_000).startswith("[[[")
    for depth in range(500, 1024):
        assert "[" in orca.json_view("[" * depth + "]" * depth)
    deep: list = []
    for _ in range(300):
        deep = [deep]
    assert "[[" in orca.json_view(json.dumps(deep))


def test_what_matched_is_marked_inside_the_arguments():
    assert "<mark>rm -rf /</mark>" in orca.json_view({"command": "cd / && rm -rf /"}, ["rm -rf /"])


@pytest.mark.parametrize(("role", "shown"), [(Role.MEMBER, ""), (Role.DEVELOPER, "edit"), (None, "")])
def test_what_a_role_may_not_do_is_not_offered(role, shown):
    request = RequestFactory().get("/")
    request.membership = role and SimpleNamespace(role=role)
    template = engines["django"].from_string("{% load orca %}{% may 'firewall.change_policy' as ok %}{% if ok %}edit{% endif %}")
    assert template.render({}, request) == shown


def test_a_menu_entry_is_current_on_the_pages_below_it_and_on_no_neighbour():
    assert render("{% is_current '/policies/' as x %}{{ x }}") == "True"
    assert render("{% is_current '/policies/' True as x %}{{ x }}") == "False"
    assert render("{% is_current '/pol' as x %}{{ x }}") == "False"


def test_a_sparkline_draws_again_only_what_leaves_its_band():
    calm = _charts.spark([1, 2, 1], [(0, 3)] * 3)
    loud = _charts.spark([1, 2, 9], [(0, 3)] * 3)
    assert (calm.over, loud.over.count("L")) == ("", 1)
    assert _charts.spark([]).line == ""


@given(st.lists(st.integers(0, 10**9), max_size=8))
def test_a_stacked_bar_is_full_or_empty(counts):
    shares = _charts.shares(counts)
    assert sum(width for _, width in shares) == pytest.approx(100 if sum(counts) else 0, abs=0.1)


@pytest.mark.parametrize("component", ["verdict", "copy_id", "page_head", "state", "args", "note", "toast", "blank", "figure", "panel_head", "key_reveal"])
def test_a_component_escapes_what_it_is_given(component):
    hostile = '"><script>alert(1)</script>'
    given_each = " ".join(f'{name}="{{{{ hostile }}}}"' for name in ("value", "title", "label", "hint", "secret", "close", "sentence", "n", "id"))
    page = CottonCompiler().process(f"<c-{component} {given_each}>{{{{ hostile }}}}</c-{component}>")
    shown = render(page, hostile=hostile)
    assert "<script" not in shown
    assert "alert(1)" in shown


class RuleForm(forms.Form):
    tool = forms.CharField(help_text="A name or a glob.")
    shadow = forms.BooleanField(required=False)
    surfaces = forms.MultipleChoiceField(choices=[("inbound", "inbound"), ("response", "response")], widget=forms.CheckboxSelectMultiple, required=False)


def test_a_refused_field_says_so_to_a_screen_reader_and_links_from_the_summary():
    page = CottonCompiler().process('<c-form_errors :form="form" />{% for field in form %}<c-field :field="field" />{% endfor %}')
    shown = render(page, form=RuleForm({}))
    assert '<a href="#id_tool">Tool</a>' in shown
    assert 'aria-describedby="id_tool-hint id_tool-error"' in shown
    assert 'aria-invalid="true"' in shown
    assert 'id="id_tool-error"' in shown
    assert shown.count("<legend") == 1
    assert shown.count('type="checkbox"') == 3
