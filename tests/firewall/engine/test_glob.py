"""The grammar of tool-name globs: the tables of the specification, and the naive reading of them."""

import time

import pytest
from hypothesis import given

from firewall.engine.glob import escaped, hints, parse
from firewall.engine.types import Verdict
from tests.figures import promised
from tests.firewall.engine import reference
from tests.firewall.engine.strategies import any_text, globs, names

GRAMMAR = [
    ("", ["shell.exec", "x"], []),
    ("*", ["shell.exec", "x"], []),
    ("foo.*", ["foo.bar", "foo.b.c", "foo.."], ["foo", "foo.", "foobar", "xfoo.bar", "Foo.bar"]),
    ("a.b.*", ["a.b.c"], ["a.b", "a.b.", "a.c"]),
    ("*.exec", ["shell.exec", "db.exec", "exec", ".exec", "a.b.exec"], ["exec.x", "myexec", "shell.Exec", "shell.exec."]),
    ("*.shell.*", ["local.shell.exec", "a.shell.b.shell.c", "a.shell.shell.b"], ["shell.exec", "a.shell.", ".shell.a", ".shell.", "a.shell", "a.shells.b"]),
    ("web.search", ["web.search"], ["web.searches", "web", "Web.search", "web/search", ""]),
    # Literals that only look like globs: the character * is in no tool name.
    ("foo*", ["foo*"], ["foo", "foobar", "foo.bar"]),
    ("foo.*.bar", ["foo.*.bar"], ["foo.x.bar", "foo..bar"]),
    ("**", ["**"], ["a", "a.b"]),
    ("*.*", ["*.*"], ["a.b", "a"]),
    (".*", [".*"], [".a", "a"]),
    ("*.", ["*."], ["a.", ""]),
    ("*..*", ["*..*"], ["a..b"]),
    ("*foo.*", ["*foo.*"], ["foo.a", "xfoo.a"]),
    ("f[ab].x", ["f[ab].x"], ["fa.x"]),
]


@pytest.mark.parametrize(("glob", "matching", "other"), GRAMMAR, ids=[row[0] or "empty" for row in GRAMMAR])
def test_the_table_of_the_grammar(glob, matching, other):
    for wide in (True, False):
        assert [name for name in matching + other if parse(glob).matches(name, wide=wide)] == matching


# What a rule that lets through takes a sent name for, and what a rule that stops takes it for.
UNDERSCORES = [
    ("kb.read", "kb__read", True, True),
    ("kb.*", "kb__read", True, True),
    ("*.exec", "shell__exec", True, True),
    ("*.shell.*", "local__shell__exec", True, True),
    ("a.b.c", "a__b__c", True, True),
    ("a__b__c", "a__b__c", True, True),
    ("*.exec", "my_exec", False, False),
    ("kb__read", "kb.read", False, False),  # a glob's own underscores are underscores
    ("kb.*", "kb__", False, False),  # nothing after the dot
    ("*.shell.*", "shell__exec", False, False),
    # Mixed readings, runs of other lengths, and runs at an end are only ever read against the caller.
    ("a.b__c", "a__b__c", False, True),
    ("mcp__kb.*", "mcp__kb__read", False, True),
    ("a._b", "a___b", False, True),
    ("a_.b", "a___b", False, True),
    ("a.*", "a___b", False, True),
    ("a..b", "a____b", False, True),
    ("a.__b", "a____b", False, True),
    ("*.exec", "__exec", False, True),
    ("a.", "a__", False, True),
    ("*.shell.*", "___shell__x", False, True),
    ("*._.*", "_" * 7, False, True),
]


@pytest.mark.parametrize(("glob", "name", "narrow", "wide"), UNDERSCORES)
def test_two_underscores_in_a_sent_name_also_read_as_a_dot(glob, name, narrow, wide):
    assert parse(glob).matches(name, wide=False) is narrow
    assert parse(glob).matches(name, wide=True) is wide


@promised
@given(globs, names)
def test_matching_agrees_with_the_naive_reading(glob, name):
    for wide in (True, False):
        assert parse(glob).matches(name, wide=wide) is reference.matches(glob, name, wide=wide)


@given(globs, names)
def test_the_wide_reading_holds_the_narrow_one(glob, name):
    assert parse(glob).matches(name, wide=True) >= parse(glob).matches(name, wide=False)


@given(any_text, any_text)
def test_any_glob_answers_for_any_name(glob, name):
    for wide in (True, False):
        assert parse(glob).matches(name, wide=wide) in (True, False)
    for verdict in Verdict:
        hints(glob, verdict)


@pytest.mark.parametrize("glob", ["*.____._.____.*", "a.a.*", "*.a_a_a.b", "*._" + "_" * 40 + "._.*", "*" + "._" * 30 + ".*"])
@pytest.mark.parametrize("piece", ["_", "._", "__a", "a_a_a", "."])
def test_matching_is_linear_in_the_length_of_the_name(glob, piece):
    parsed = parse(glob)

    def best_seconds(length):
        name = (piece * length)[:length]
        taken = []
        for _ in range(7):
            # Of this thread's processor time: another process that runs meanwhile is no reason to fail.
            start = time.thread_time()
            parsed.matches(name, wide=True), parsed.matches(name, wide=False)
            taken.append(time.thread_time() - start)
        return min(taken)

    best_seconds(100)
    # Sixteen times the name: 16 times the work if linear, 256 if quadratic.
    assert best_seconds(320_000) < 80 * max(best_seconds(20_000), 1e-4)


@given(any_text)
def test_a_shown_name_is_short_printable_ascii(name):
    shown = escaped(name)
    assert len(shown) <= 128
    assert shown == "" or (shown.isascii() and shown.isprintable())


def test_a_good_name_is_shown_as_it_is():
    assert escaped("kb.Read__all:x/y-z") == "kb.Read__all:x/y-z"
    assert escaped("x" * 128) == "x" * 128
    assert escaped("a\nb\x00é") == r"a\nb\x00\xe9"


HINTS = [
    ("web.search", Verdict.ALLOW, []),
    ("kb.*", Verdict.ALLOW, []),
    ("*", Verdict.DENY, []),
    ("kb.*", Verdict.DENY, ["case_sensitive"]),
    ("*.exec", Verdict.ALLOW, ["loose_suffix"]),
    ("*.exec", Verdict.AUDIT, ["loose_suffix"]),
    ("*.exec", Verdict.DENY, ["case_sensitive"]),
    ("*.shell.*", Verdict.ALLOW, ["loose_infix"]),
    ("foo*", Verdict.ALLOW, ["literal_looks_like_glob"]),
    ("foo.*.bar", Verdict.DENY, ["literal_looks_like_glob"]),
    ("**", Verdict.DENY, ["literal_looks_like_glob"]),
    ("mcp__kb__read", Verdict.ALLOW, ["double_underscore"]),
    ("mcp__kb.*", Verdict.DENY, ["case_sensitive", "double_underscore"]),
    ("web search", Verdict.ALLOW, ["invalid_characters"]),
    ("zoë.*", Verdict.DENY, ["invalid_characters"]),
    ("x" * 128, Verdict.ALLOW, []),
    ("x" * 129, Verdict.ALLOW, ["too_long"]),
]


@pytest.mark.parametrize(("glob", "verdict", "codes"), HINTS)
def test_the_editor_is_told_what_a_glob_does_not_do(glob, verdict, codes):
    assert [hint.code for hint in hints(glob, verdict)] == codes


@pytest.mark.parametrize(
    ("glob", "meant"), [("foo*", "foo.*"), ("*exec", "*.exec"), ("*shell*", "*.shell.*"), ("mcp__kb__*", "mcp.kb.*"), ("**", "*"), (".*", "*")]
)
def test_a_literal_that_looks_like_a_glob_comes_with_the_likely_one(glob, meant):
    assert f'Did you mean "{meant}"?' in hints(glob, Verdict.DENY)[0].text
