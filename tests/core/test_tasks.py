"""Names of the types of work."""

from __future__ import annotations

import pytest

from cacheserver.core.tasks import canonical


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Code-Review", "code_review"),
        ("summarization", "summarisation"),
        ("tagging", "classification"),
        ("reasoning", "reasoning"),
        ("Invoice-Triage", "Invoice-Triage"),
    ],
)
def test_other_spellings_of_a_task_are_the_same_task(name: str, known: str) -> None:
    assert canonical(name) == known
