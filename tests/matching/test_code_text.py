"""Signs of code: a text is searched for one only if it has what the sign cannot do without."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.matching import code_text

SIGNS = (*code_text._SURE, *code_text._SIGNS)


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: " ".join(sign.needs))
def test_whatever_matches_has_what_the_sign_needs(sign: code_text._Sign) -> None:
    @settings(max_examples=25)
    @given(st.from_regex(sign.pattern))
    def has_it(text: str) -> None:
        assert sign.is_in(text)

    has_it()
