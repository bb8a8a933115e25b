"""What an event keeps of arguments: no secret, and the same hash for the same arguments."""

import pytest

from firewall.engine.summary import MAX_SUMMARY_BYTES, summarise


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('{"k": "x\\nAKIAIOSFODNN7EXAMPLE"}', '{"k": "x\\n[redacted:aws_access_key]"}'),
        ('{"h": "Bearer abcdefghijklmnopqrst"}', '{"h": "Bearer [redacted:bearer_token]"}'),
        ('{"n": 4111111111111111}', '{"n": [redacted:credit_card]}'),
        ('{"to": "bob@example.org"}', '{"to": "bob@example.org"}'),
        ('{"password": "hun\\"ter2"}', '{"password": "[redacted]"}'),
        ('{"k": "\\u0041KIAIOSFODNN7EXAMPLE", "\\u0070assword": "x"}', '{"k": "[redacted:aws_access_key]", "password": "[redacted]"}'),
        ('{"k": "wJalrXUtnFEMI\\/K7MDENG\\/bPxRfiCYEXAMPLEKEY"}', '{"k": "[redacted:aws_secret_key]"}'),
        ('{"a": "\\u0022\\u005c\\\\u0041\\n\\u00e9\\u0007"}', '{"a": "\\u0022\\u005c\\\\u0041\\n\\u00e9\\u0007"}'),
        (
            '{"url": "https://me:pa55@example.org/?a=1&Access_Token=x.y&b=2#c"}',
            '{"url": "https://me:[redacted]@example.org/?a=1&Access_Token=[redacted]&b=2#c"}',
        ),
        ('{"url": "http://me@example.org:80/@b?tokens=3"}', '{"url": "http://me@example.org:80/@b?tokens=3"}'),
        ("not JSON sk-ant-" + "x" * 50, "not JSON [redacted:anthropic_key]"),
    ],
)
def test_a_summary_has_no_secret(written, kept):
    assert summarise(written).text == kept


def test_a_secret_that_the_cut_would_halve_is_gone():
    assert "AKIA" not in summarise("x" * (MAX_SUMMARY_BYTES - 8) + " AKIAIOSFODNN7EXAMPLE").text


def test_equal_arguments_in_another_spelling_have_the_same_hash():
    assert summarise('{"a": 1.0, "b": "ä"}').digest == summarise('{"b":"\\u00e4","a":1}').digest
    assert summarise('{"a": 1}').digest != summarise('{"a": 2}').digest
