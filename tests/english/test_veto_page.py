"""`docs/vetoes.md` lists every veto, with an example on which it fires and a price."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cacheserver.english.language import english
from cacheserver.english.vetoes import VETOES
from cacheserver.matching.language import vetoes_between

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "vetoes.md").read_text(encoding="utf-8")
ENGLISH = english()
EXAMPLES = {
    name: (one, other)
    for name, one, other in re.findall(
        r"^\| `(\w+)` \|.*\| \"([^|]*)\" / \"([^|]*)\" \|$", PAGE, re.M
    )
}


def test_every_veto_has_an_example_and_a_price_in_order() -> None:
    assert list(EXAMPLES) == list(VETOES)
    priced = re.findall(r"^\| (\w+) \| [\d.]+ \|", PAGE, re.M)
    assert [name for name in priced if name != "any"] == list(VETOES)


@pytest.mark.parametrize("name", VETOES)
def test_each_fires_on_its_example(name: str) -> None:
    one, other = (ENGLISH.profile(text) for text in EXAMPLES[name])
    assert vetoes_between(one, other, frozenset({name}), ENGLISH) == (name,)
    assert vetoes_between(other, one, frozenset({name}), ENGLISH) == (name,)
