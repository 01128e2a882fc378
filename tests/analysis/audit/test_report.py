"""What an audit says, from the tally to the command."""

from __future__ import annotations

import io
import json
import math
import os
import statistics
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.alerts.forecast import half_width
from cacheserver.analysis.audit import data, factories
from cacheserver.analysis.audit.daily import Daily
from cacheserver.analysis.audit.formats.reading import ReadLog
from cacheserver.analysis.audit.output import html, terminal
from cacheserver.analysis.audit.output.format import usd, visible
from cacheserver.analysis.audit.tally import OTHER, Groups, Tally
from cacheserver.analysis.replay.step import LEVERS, Step, VerificationEstimate
from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.analysis.replay.verification import Verification
from cacheserver.cli import main
from cacheserver.core.types import Route
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.verification import ErrorRates
from tests.analysis.audit.records import pair
from tests.analysis.replay.calls import call
from tests.embedding.servers import saying, serving, shaped
from tests.models import model_dir

parts = st.dictionaries(st.sampled_from(LEVERS), st.integers(-1_000, 9_000), max_size=5)
steps = st.builds(
    Step,
    spent=st.none() | st.integers(0, 10**9),
    alone=parts,
    together=parts,
    kind=st.sampled_from([None, "exact", "semantic"]),
    right=st.sampled_from([None, True, False]),
    root=st.sampled_from(["a", "b", "c"]),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(steps, st.sampled_from(["x", "y", None])), max_size=40))
def test_groups_sum_to_the_whole_however_few_are_kept(found: list[tuple[Step, str | None]]) -> None:
    tally = Tally(groups=Groups(2), by_model=Groups(1), by_day=Groups(1))
    for n, (step, purpose) in enumerate(found):
        one = call(at=n * 50_000)
        tally.add(
            one if purpose is None else type(one)(one.at, one.model, one.usage, purpose=purpose),
            step,
        )
    priced = [step for step, _ in found if step.spent is not None]
    for groups in (tally.groups, tally.by_model, tally.by_day):
        assert sum(one.spent for one in groups.dearest()) == sum(step.spent or 0 for step in priced)
        assert sum(one.requests for one in groups.dearest()) == len(priced)
    assert tally.saved == sum(sum(step.together.values()) for step in priced)
    assert sum(tally.unpriced.values()) == len(found) - len(priced)
    low, high = tally.semantic_interval()
    if tally.whole.together["semantic"] >= 0:
        assert low <= high <= tally.whole.together["semantic"]


def test_what_makes_room_is_counted_as_other() -> None:
    groups = Groups(2)
    for name, spent in (("a", 5), ("b", 1), ("c", 3)):
        groups.of((name,), name).add(Step(spent))
    assert [(one.name, one.spent) for one in groups.dearest()] == [("a", 5), ("c", 3), (OTHER, 1)]


def test_wrong_hits_widen_the_interval_by_what_they_stand_for() -> None:
    tally = Tally()
    for n in range(100):
        step = Step(
            10**9, together={"semantic": 10**9}, kind="semantic", right=n > 0, stands_for=2.0
        )
        tally.add(call(at=n), step)
    assert tally.wrong.share == 0.01
    low, high = tally.wrong.interval
    assert low < 0.01 < high < 0.06
    least, most = tally.semantic_interval()
    assert (least, most) == (round(1e11 * (1 - high)), round(1e11 * (1 - low)))
    assert tally.semantic_interval(10**9)[0] < least - 10**9


def test_the_report_sums_to_what_was_spent_however_many_groups_there_are() -> None:
    tally = Tally()
    for n in range(250):
        one = replace(call(at=n), purpose=f"p{n}")
        tally.add(one, Step(n + 1, together={"exact": n}))
    told = data.report(ReadLog(requests=250), tally, [])
    assert len(told["groups"]) == 101
    assert told["groups"][-1]["name"] == OTHER
    for name in ("groups", "by_model", "by_day"):
        assert sum(Decimal(one["spent_usd"]) for one in told[name]) == Decimal(told["spent_usd"])
        assert sum(Decimal(one["saved_usd"]) for one in told[name]) == Decimal(told["saved_usd"])
        assert sum(one["requests"] for one in told[name]) == 250


def test_verification_is_an_estimate_in_no_other_figure() -> None:
    plain, tally = Tally(), Tally()
    estimate = VerificationEstimate(0.62, 0.02, 400, 9_000)
    for n in range(50):
        plain.add(call(at=n), Step(15_000))
        tally.add(call(at=n), Step(15_000, verification=estimate))
    terms = Verification("claude-haiku-5-5", ErrorRates(0.9, 0.02))
    told = data.report(ReadLog(requests=50), tally, [], verification=terms)
    assert told.pop("verification") == {
        "estimate": True,
        "model": "claude-haiku-5-5",
        "sensitivity": 0.9,
        "false_yes": 0.02,
        "calls": 50,
        "hits": 31.0,
        "wrong_hits": 1.0,
        "cost_usd": "0.000020000",
        "saved_usd": "0.000450000",
        "net_usd": "0.000430000",
    }
    without = data.report(ReadLog(requests=50), plain, [])
    assert without.pop("verification") is None
    assert told == without
    assert "Verification is estimated" not in html.page(without | {"verification": None})
    told = data.report(ReadLog(requests=50), tally, [], verification=terms)
    assert "50 calls of claude-haiku-5-5 cost" in " ".join(html.page(told).split())
    shown = "\n".join(terminal.lines(told))
    assert "estimated with 90.0% and 2.0% false yes, in no figure above" in shown
    assert "31 more hits (1.0 wrong)" in shown


def test_routing_has_the_interval_of_the_tiers_it_goes_to() -> None:
    tally = Tally()
    for tier in ("low", "middle", "high", None):
        route = Route("claude-haiku-5-5", "complexity", tier)
        tally.add(call(), Step(2_000, alone={"routing": 1_000}, route=route))
    (least, most), together = tally.routing_interval()
    low, middle = wilson(183, 194), wilson(234, 268)
    assert least == round(1_000 * low[0]) + round(1_000 * middle[0]) + 2_000
    assert most == round(1_000 * low[1]) + round(1_000 * middle[1]) + 2_000
    assert together == (0, 0)
    told = data.report(ReadLog(requests=4), tally, [])
    assert told["levers"]["routing"]["alone_95_usd"] == [usd(least), usd(most)]
    text = "\n".join(terminal.lines(told))
    assert "routing alone <$0.01 to <$0.01, its wrong choices taken off" in text


def test_prompt_caching_has_bounds_by_how_dense_its_prefixes_are() -> None:
    """Of 1,000 tokens 600 by characters: 600 x 3/4 of 850, or 600 x 4/3 of 1,200."""
    tally = Tally()
    part = {"prompt-caching": 600_000}
    tally.add(call(), Step(10**6, alone=part, together=part, marked=0.6))
    tally.add(call(), Step(10**6, alone={"prompt-caching": -100_000}, marked=1.0))
    low, high = round(600_000 * 0.75 / 0.85), round(600_000 * (4 / 3) / 1.2)
    assert tally.marked.alone == [low - 100_000, high - 100_000]
    assert tally.marked.together == [low, high]
    told = data.report(ReadLog(requests=2), tally, [])
    levers = told["levers"]
    assert levers["prompt-caching"]["together_bounds_usd"] == [usd(low), usd(high)]
    assert levers["batch"]["alone_bounds_usd"] == [usd(0), usd(0)]


def test_a_month_is_told_with_what_days_differ_by() -> None:
    tally = Tally()
    for day in range(10):
        saved = {"exact": (day % 2 + 1) * 10**9}
        tally.add(call(at=day * 86_400.0), Step(5 * 10**9, alone=saved, together=saved))
    reading = ReadLog(requests=10, first=0.0, last=10 * 86_400.0)
    told = data.report(reading, tally, [])
    deviation = math.sqrt(10 * 0.25 / 9)  # of one and two dollars
    half = 2.26 * deviation * math.sqrt(30 + 900 / 10)  # Student's t with 9 degrees of freedom
    month = told["month"]["saved"]
    assert month["usd"] == "45.000000000"
    low, high = (float(end) for end in month["interval_95_usd"])
    assert (low, high) == pytest.approx((45 - half, 45 + half))
    assert told["levers"]["exact"]["together_month"] == month
    assert told["month"]["spent"]["interval_95_usd"] == ["150.000000000", "150.000000000"]
    text = "\n".join(terminal.lines(told))
    assert "30 days like it  $150.00 ($150.00 to $150.00) spent, of which $45.00 ($" in text
    short = data.report(replace(reading, last=86_399.0), tally, [])
    assert short["month"] == {"spent": None, "saved": None}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-20, 20)), max_size=60), st.integers(2, 8))
def test_days_are_added_up_as_they_come(found: list[tuple[int, int]], days: int) -> None:
    """Against all values kept: mean and deviation of the whole days, none of the last."""
    daily, sums = Daily(), [0] * 8
    for day, amount in sorted(found):
        daily.add(day, amount * 10**9)
        sums[day] += amount * 10**9
    whole = [d for d, _ in found]
    if any(day > days for day in whole):
        return  # the log would be longer
    month = daily.month(days * 86_400.0 + 1)
    assert month is not None
    assert month.ends is not None
    assert month.amount == round(sum(sums) * 30 * 86_400 / (days * 86_400 + 1))
    half = half_width(days, statistics.stdev(sums[:days]), 30)
    low, high = month.amount - half, month.amount + half
    if all(amount >= 0 for _, amount in found):
        low = max(0, low)
    assert month.ends == pytest.approx((low, high), abs=2)


def test_a_hostile_log_steers_no_terminal() -> None:
    tally = Tally()
    tally.add(call(system="\x1b]0;\x07 Be brief."), Step(10**9))
    tally.add(call(model="claude-\x1b[2J"), Step(10**9))
    tally.add(call(model="claude-\x1b[2J"), Step(None))
    told = data.report(ReadLog(requests=1, lines=1, shown=["a\x1b[2J:1: no"]), tally, [])
    text = "\n".join(terminal.lines(told))
    assert "Be brief." in text
    assert "\x1b" not in text


def test_the_terminal_shows_days_as_a_row() -> None:
    tally = Tally()
    for at, spent in ((0, 10**9), (86_400, 4 * 10**9), (3 * 86_400, 8 * 10**9)):
        tally.add(call(at=at), Step(spent))
    told = list(terminal.lines(data.report(ReadLog(requests=3), tally, [])))
    (place,) = [n for n, line in enumerate(told) if line.startswith("Spent by day, 2026-11-")]
    assert told[place].endswith("at most $8.00 in a day")
    assert told[place + 1] == ".= #"


def audit(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command from `cwd`, in this process: one of its own takes two seconds to start."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("CACHESERVER_MODEL_DIR", str(model_dir()))
        try:
            status = main(["audit", *words])
        except SystemExit as ended:
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def audit_process(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cacheserver.cli", "audit", *words]
    environment = {**os.environ, "CACHESERVER_MODEL_DIR": str(model_dir())}
    environment.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_reads_replays_and_reports(tmp_path: Path) -> None:
    times = [f"2026-11-02T10:00:{second:02}Z" for second in range(4)]
    texts = ["What is the capital of France?", "What is the capital of France?"]
    texts += ["What's the capital of France?", "Who wrote Hamlet?"]
    log = tmp_path / "log.jsonl"
    lines = [json.dumps(pair(text, at=at)) for text, at in zip(texts, times, strict=True)]
    log.write_text("\n".join([*lines, "not json"]))
    done = audit_process("log.jsonl", "--json-file", "out.json", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["format"] == data.FORMAT
    assert told["requests_by_kind"] == {"asked": 2, "exact": 1, "semantic": 1}
    assert (told["read"]["requests"], told["read"]["bad"]) == (4, 1)
    assert told["spent_usd"] == "0.012000000"  # 4 x (1,000 x $2 + 100 x $10) a million
    assert told["levers"]["exact"]["alone_usd"] == "0.003000000"
    assert (told["verification"]["estimate"], told["verification"]["false_yes"]) == (True, 0.1)
    assert "log.jsonl:5: no JSON" in done.stdout


def test_an_endpoint_that_goes_away_ends_the_audit_with_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    texts = ("Why is it?", "Why is it?", "What is the capital of France?")
    log.write_text(
        "\n".join(
            json.dumps(pair(text, at=f"2026-11-02T10:00:0{at}Z")) for at, text in enumerate(texts)
        )
    )

    def reply(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        return saying({}, 503)(body) if texts[2] in body["input"] else shaped()(body)

    monkeypatch.setattr(factories, "Embedding", partial(Embedding, pauses_s=()))
    with serving(reply) as server:
        monkeypatch.setenv("CACHESERVER_EMBEDDER", server.url)
        monkeypatch.setenv("CACHESERVER_DATA_DIR", str(tmp_path / "data"))
        assert main(["audit", str(log), "--processes", "1"]) == 2
    told = capsys.readouterr().err
    assert "`CACHESERVER_EMBEDDER`: the endpoint answered 503" in told
    assert "ended after 2 requests" in told


def test_files_are_written_also_for_who_reads_no_more_of_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(pair("Why?", at="2026-11-02T10:00:00Z")))
    command = (
        f"{sys.executable} -m cacheserver.cli audit log.jsonl --json-file out.json --html out.html"
    )
    environment = {**os.environ, "CACHESERVER_MODEL_DIR": str(model_dir())}
    environment.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["format"] == data.FORMAT
    assert (tmp_path / "out.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["nothing.jsonl"], 2, "nothing.jsonl"),
        (["bad.jsonl"], 1, ""),
        (["bad.jsonl", "--target", "0.9"], 2, "--target"),
        (["bad.jsonl", "--verify-false-yes", "0"], 2, "--verify-false-yes"),
        (["bad.jsonl", "--verify-model", "claude-x"], 2, "`claude-x` has no price"),
        (["bad.jsonl", "--since", "soon"], 2, "--since"),
        (["bad.jsonl", "--html", "no/folder/report.html"], 2, "--html"),
        (["bad.jsonl", "--json-file", "."], 2, "--json-file"),
        (["bad.jsonl", "--html", "/dev/full"], 2, "--html"),
        (["bad.jsonl", "--prices", "bad.jsonl"], 2, "price table"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, words: list[str], status: int, says: str
) -> None:
    (tmp_path / "bad.jsonl").write_text("garbage\n")
    done = audit(*words, cwd=tmp_path)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_that_can_be_written_nowhere_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(pair()))
    done = audit("log.jsonl", "--html", "no/folder/report.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


def test_prompts_that_only_look_the_same_are_two_groups_and_are_told_apart() -> None:
    tally = Tally()
    for system in ("Be brief.", "Be\u00a0brief.", "Be br\u200bief.", "Be brief."):
        tally.add(call(system=system), Step(10**9, root=system))
    told = data.report(ReadLog(requests=4, lines=4), tally, [])
    names = {visible(row["name"]): row["requests"] for row in told["groups"]}
    assert names == {"Be brief.": 2, "Be<U+00A0>brief.": 1, "Be br<U+200B>ief.": 1}
