"""The form of a key."""

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from keys.engine import token
from workspaces.tokens import new_token


def test_a_minted_key_has_the_documented_form_and_all_characters_are_as_likely():
    made = [new_token(token.PREFIX, token.LENGTH) for _ in range(2_000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"sk-orca-[0-9A-Za-z]{48}", key) and token.is_well_formed(key) for key in made)
    counts = Counter("".join(key.removeprefix(token.PREFIX) for key in made))
    expected = 2_000 * token.LENGTH / 62
    # Chi-square with 61 degrees of freedom: 120 is passed by chance less than once in 100,000 runs; a biased modulo gives thousands.
    assert sum((counts[char] - expected) ** 2 / expected for char in counts) < 120
    assert len(counts) == 62


def test_a_mask_shows_four_characters_on_each_side_and_never_authenticates():
    key = new_token(token.PREFIX, token.LENGTH)
    mask = token.mask(*token.ends(key))
    assert mask == f"sk-orca-{key[8:12]}****{key[-4:]}"
    assert not token.is_well_formed(mask)
    assert token.ends_of_mask(mask) == token.ends_of_mask(f" {mask} ") == token.ends(key)


@given(st.text(max_size=80))
def test_any_text_has_an_answer(text):
    assert token.is_well_formed(text) is bool(re.fullmatch(r"sk-orca-[0-9A-Za-z]{48}", text, re.ASCII) and not text.endswith("\n"))
    token.ends_of_mask(text)
