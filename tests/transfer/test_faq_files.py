"""Readers of FAQ files: every line is a record or a problem that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cacheserver.transfer.faq_files import UnknownFormat, read
from cacheserver.transfer.records import Deduplication, FaqRecord, Found, Problem, deduplicated


def found(folder: Path, name: str, text: str | bytes) -> list[Found]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read(path))


def test_a_table_is_read_with_its_lines_and_optional_columns(tmp_path: Path) -> None:
    text = (
        "\ufeffTags,Question,Answer,ttl_s,notes\r\n"
        'a,How?,"By post,\r\nor by car.",60,x\r\n'
        '"a, b",Why?,Because.,,\r\n'
        "\r\n"
        ",,No question.,,\r\n"
        ",Where?,,,\r\n"
        ",When?,Now.,soon,\r\n"
        ",Who?,Ann,1,x,too many\r\n"
    )
    assert found(tmp_path, "faq.csv", text) == [
        FaqRecord("faq.csv:2", "How?", "By post,\r\nor by car.", ("a",), 60),
        FaqRecord("faq.csv:4", "Why?", "Because.", ("a", "b")),
        Problem("faq.csv:6", "has no question"),
        Problem("faq.csv:7", "has no answer"),
        Problem("faq.csv:8", "`ttl_s` must be whole seconds"),
        Problem("faq.csv:9", "has 6 columns of 5: quote what has commas"),
    ]


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.tsv", "\t"), ("b.csv", "\t")])
def test_a_table_has_semicolons_or_tabs_as_well(tmp_path: Path, name: str, mark: str) -> None:
    text = f"prompt{mark}response\nHow, and why?{mark}So, and so.\n"
    assert found(tmp_path, name, text) == [FaqRecord(f"{name}:2", "How, and why?", "So, and so.")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("How?,By post.\n", "a column `question`"),
        ("question,other\nHow?,x\n", "a column `answer`"),
        ("", "a column `question`"),
        ('question,answer\nHow?,"never closed\n', "is no CSV"),
        (b"question,answer\nHow?,caf\xe9\n", "is not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path: Path, text: str | bytes, says: str) -> None:
    (problem,) = found(tmp_path, "faq.csv", text)
    assert isinstance(problem, Problem)
    assert says in problem.why


def test_lines_of_json_are_read_under_several_names(tmp_path: Path) -> None:
    text = (
        '{"question": " How? ", "answer": "So.", "tags": ["a"], "ttl_s": 5, "where": "x"}\n'
        '\n{"Prompt": "Why?", "completion": "So."}\n[1]\nnot json\n{"question": "Who?"}\n'
        '{"question": "\\u200b", "answer": "x"}\n'
    )
    odd = "must be a JSON object with `question` and `answer`"
    assert found(tmp_path, "faq.jsonl", text) == [
        FaqRecord("faq.jsonl:1", "How?", "So.", ("a",), 5),
        FaqRecord("faq.jsonl:3", "Why?", "So."),
        Problem("faq.jsonl:4", odd),
        Problem("faq.jsonl:5", odd),
        Problem("faq.jsonl:6", "has no answer"),
        Problem("faq.jsonl:7", "has no question"),
    ]


def test_headings_that_ask_are_questions_and_what_is_below_them_answers(tmp_path: Path) -> None:
    text = """# FAQ

## Orders

### How do I return one?

By post:

#### Steps

```sh
# not a heading
```

1. Pack it.

### Q: Shipping costs #

A: Five euros.

### And the rest?

## Contact

Write to us.

### Who are you?
Ann.
"""
    assert found(tmp_path, "faq.md", text) == [
        FaqRecord(
            "faq.md:5",
            "How do I return one?",
            "By post:\n\n#### Steps\n\n```sh\n# not a heading\n```\n\n1. Pack it.",
        ),
        FaqRecord("faq.md:17", "Shipping costs", "Five euros."),
        Problem("faq.md:21", "has no answer below it"),
        Problem("faq.md:23", "has text below a heading that asks nothing: end it with `?`"),
        FaqRecord("faq.md:27", "Who are you?", "Ann."),
    ]


def test_a_file_of_an_unknown_kind_is_read_as_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "faq.txt"
    path.write_text('{"q": "How?", "a": "So."}\n')
    with pytest.raises(UnknownFormat, match="--format"):
        list(read(path))
    assert list(read(path, "jsonl")) == [FaqRecord("faq.txt:1", "How?", "So.")]


def test_a_question_comes_once_and_two_answers_to_it_are_a_problem() -> None:
    counts = Deduplication()
    records = [
        FaqRecord("f:1", "How?", "So."),
        FaqRecord("f:2", " How? ", "So."),
        FaqRecord("f:3", "How?", "Otherwise."),
        FaqRecord("f:4", "Why?", "So."),
    ]
    assert list(deduplicated(records, counts)) == [
        records[0],
        Problem("f:3", "has another answer to the question of f:1"),
        records[3],
    ]
    assert counts.repeated == 1
