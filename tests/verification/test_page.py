"""The break-even table of docs/verification.md is what `worth.way` says at today's prices."""

from __future__ import annotations

import datetime

import pytest

from cacheserver.core.types import Usage
from cacheserver.pricing.prices import Pricer
from cacheserver.verification import prompt, worth
from cacheserver.verification.prompt import Stored
from cacheserver.verification.worth import Stakes
from tests.models import ROOT
from tests.verification.house import VERIFIER

MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
LENGTHS = (50, 200, 800, 2_000)
AT = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC).timestamp()
_QUESTION = "How do I reset the password of my account? "
_CHARS_A_TOKEN = 4
_PROMPT = 60  # input tokens of the request itself: the question and a short system prompt
_FIRST_S, _TOKENS_A_S = 1.0, 70.0
_CALL_S = 0.8


def least(model: str, length: int) -> str:
    """The least chance of a yes at which a verification is made inline, in percent."""
    price = Pricer()
    saving = price.cost(model, Usage(_PROMPT, length), AT)
    stored = Stored(_QUESTION, "word " * (length * _CHARS_A_TOKEN // 5), AT)
    body = prompt.body_of(_QUESTION, {}, [stored], model=VERIFIER, now=AT)
    usage = Usage(prompt.tokens_expected(body), prompt.USUAL_TOKENS)
    call = price.cost(VERIFIER, usage, AT)
    assert saving is not None
    assert call is not None
    answer_s = _FIRST_S + length / _TOKENS_A_S
    stakes = Stakes(call, saving, _CALL_S, answer_s, limit_s=min(3.0, answer_s / 2), repeats=0)
    pays = [c for c in range(1, 101) if worth.way("inline", c / 100, stakes) == "inline"]
    return f"{pays[0]}%" if pays else "never"


@pytest.mark.parametrize("model", MODELS)
def test_the_break_even_table_is_up_to_date(model: str) -> None:
    row = f"| `{model}` | {' | '.join(least(model, length) for length in LENGTHS)} |"
    assert row in (ROOT / "docs/verification.md").read_text(), row
