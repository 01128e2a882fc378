"""`cacheserver audit PATH...`: read logs, replay them, print the report."""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cacheserver.core.command_line import (
    INTERRUPTED,
    NO,
    OK,
    PRICES_HELP,
    CommandLine,
    add_command,
    add_json,
    print_json,
    say,
)
from cacheserver.core.types import DEFAULT_TTL_S

if TYPE_CHECKING:
    from cacheserver.analysis.audit.formats.reading import ReadLog
    from cacheserver.analysis.replay.call import Call
    from cacheserver.analysis.replay.step import Step
    from cacheserver.analysis.replay.verification import Verification
    from cacheserver.config.settings import Settings
    from cacheserver.pricing.prices import Pricer

_SEVERAL = 20_000_000  # bytes of logs from which on a second process is worth its start


def add(line: CommandLine) -> None:
    """Register the command."""
    audit = add_command(
        line.commands,
        "audit",
        help="estimate from your logs what the cache would have saved",
        example="cacheserver audit logs/ --html report.html",
        parents=[line.configured],
    )
    audit.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a log file or a folder")
    audit.add_argument(
        "--admin",
        action="store_true",
        help="fetch Anthropic's usage and cost reports with ANTHROPIC_ADMIN_KEY",
    )
    add_json(audit)
    audit.add_argument(
        "--json-file", type=Path, metavar="FILE", help="also write the report as JSON"
    )
    audit.add_argument(
        "--html", type=Path, metavar="FILE", help="also write the report as an HTML page"
    )
    audit.add_argument("--since", help="only requests from this time on (ISO 8601 or Unix seconds)")
    audit.add_argument("--until", help="only requests before this time")
    audit.add_argument(
        "--one-tenant", action="store_true", help="let all users in the logs share answers"
    )
    audit.add_argument(
        "--target",
        type=float,
        default=0.01,
        help="highest share of wrong semantic hits (default: 0.01)",
    )
    audit.add_argument(
        "--ttl", type=int, default=DEFAULT_TTL_S, help="lifetime of an answer in seconds"
    )
    audit.add_argument("--prices", type=Path, help=PRICES_HELP)
    audit.add_argument(
        "--verify-sensitivity",
        type=float,
        help="of a verifying model, for the estimate (default: CACHESERVER_VERIFY_SENSITIVITY)",
    )
    audit.add_argument(
        "--verify-false-yes",
        type=float,
        help="its share of yes to answers that do not serve (CACHESERVER_VERIFY_FALSE_YES)",
    )
    audit.add_argument(
        "--verify-model", help="the verifying model (default: CACHESERVER_VERIFY_MODEL)"
    )
    audit.add_argument(
        "--wrong-hit-usd",
        type=float,
        default=0.0,
        help="cost of a wrong answer, subtracted from the savings",
    )
    audit.add_argument(
        "--most-entries", type=int, default=500_000, help="most answers held in memory"
    )
    audit.add_argument(
        "--most-texts", type=int, default=100_000, help="most questions and answers to embed"
    )
    audit.add_argument(
        "--admin-url",
        default="https://api.anthropic.com",
        metavar="URL",
        help="URL of the Admin API",
    )
    audit.add_argument(
        "--no-progress", dest="progress", action="store_false", help="do not show progress"
    )
    audit.add_argument(
        "--progress-json",
        action="store_true",
        help="show progress as JSON, an object on each line of standard error",
    )
    audit.add_argument("--processes", type=int, help="number of processes; 0: one for each core")
    audit.set_defaults(run=lambda args: run(args, line.settings_of(args)))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the report. Return the exit status: `NO` if nothing could be read."""
    from cacheserver.analysis.audit import data, invoice, invoice_data
    from cacheserver.analysis.audit.formats.reading import DAYS, ReadLog, calls
    from cacheserver.analysis.audit.leaks import Leaks
    from cacheserver.analysis.audit.output import html, terminal
    from cacheserver.analysis.audit.tally import Tally
    from cacheserver.core import json_text
    from cacheserver.core.errors import SettingsError
    from cacheserver.core.terminal.progress import Progress
    from cacheserver.index.errors import EmbedderFailed
    from cacheserver.pricing import price_file

    _check(args)
    prices = price_file.read_price_file(settings, args.prices)
    since, until = _time("--since", args.since), _time("--until", args.until)
    priced = price_file.build_pricer(prices)
    verification = _verification(args, settings, priced)
    reading, tally = ReadLog(), Tally()
    progress = Progress(on=args.progress, as_json=args.progress_json)
    leaks = Leaks(priced.cost, ttl_s=args.ttl, systems=tally.systems)
    interrupted, done = False, 0
    try:
        if args.admin:
            _fetch(args.admin_url, reading, since, until)
        if args.paths:
            found = calls(
                args.paths, since=since, until=until, reading=reading, progress=progress.read
            )
            for done, (call, step) in enumerate(
                _steps(args, settings, prices, found, verification), 1
            ):
                leaks.add(call, step, tally.add(call, step))
                progress.replayed(done, reading.formats.total())
    except KeyboardInterrupt:
        interrupted = True
    except EmbedderFailed as failed:
        progress.end()
        raise SettingsError(
            f"`CACHESERVER_EMBEDDER`: {failed}, also when asked again; the audit ended after "
            f"{done:,} requests"
        ) from failed
    progress.end()
    reports = reading.invoice.within(since, until, DAYS)
    invoice_totals = invoice.totals(reports, priced) if reports else None
    seconds = (reading.last or 0.0) - (reading.first or 0.0)
    worst = leaks.worst(tally.whole.spent, seconds)
    if invoice_totals is not None and not reading.requests:
        worst = invoice_data.leaks(invoice_totals)
    wrong_hit = round(args.wrong_hit_usd * 1_000_000_000)
    report = data.report(
        reading,
        tally,
        worst,
        wrong_hit=wrong_hit,
        invoice=invoice_totals,
        verification=verification,
    )
    # Files first: who reads only the beginning of what is printed shall have them all the same.
    if args.json_file is not None:
        _write("--json-file", args.json_file, json_text.dumps(report))
    if args.html is not None:
        _write("--html", args.html, html.page(report).encode())
    if args.json:
        print_json(report)
    else:
        print("\n".join(terminal.lines(report)))
    if interrupted:
        say("cacheserver: interrupted; the report is of the requests read until then")
        return INTERRUPTED
    return OK if reading.requests or reports else NO


def _write(option: str, path: Path, text: bytes) -> None:
    """Write a report file. Raises `SettingsError` if that fails."""
    from cacheserver.core.errors import SettingsError

    whole = path.resolve()
    if whole.exists() and not whole.is_file():
        new = whole  # a terminal or a pipe
    else:
        new = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}.new")
    try:
        new.write_bytes(text)
        if new != whole:
            new.replace(whole)  # a report that was there stays until the next one is whole
    except OSError as error:
        raise SettingsError(f"`{option}`: {error}") from error
    finally:
        if new != whole:
            new.unlink(missing_ok=True)


def _check(args: argparse.Namespace) -> None:
    """Check the options. Raises `SettingsError`."""
    from cacheserver.core.errors import SettingsError

    if not args.paths and not args.admin:
        raise SettingsError("give log files or folders to read, or `--admin`")
    if not 0 < args.target <= 0.5:
        raise SettingsError("`--target` must be above 0 and at most 0.5")
    if args.ttl < 0 or args.wrong_hit_usd < 0:
        raise SettingsError("`--ttl` and `--wrong-hit-usd` must be 0 or more")
    for option, path in (("--json-file", args.json_file), ("--html", args.html)):
        # Told now, not after an hour of replaying.
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise SettingsError(f"`{option}`: {path} is no file in a folder that there is")


def _verification(args: argparse.Namespace, settings: Settings, pricer: Pricer) -> Verification:
    """Return what the estimate of verification takes for true. Raises `SettingsError`."""
    from cacheserver.analysis.replay.verification import Verification
    from cacheserver.core.errors import SettingsError
    from cacheserver.core.types import Usage
    from cacheserver.matching.verification import ErrorRates

    stated = {
        "--verify-sensitivity": (args.verify_sensitivity, settings.verify_sensitivity),
        "--verify-false-yes": (args.verify_false_yes, settings.verify_false_yes),
    }
    rates = dict[str, float]()
    for option, (given, default) in stated.items():
        rates[option] = rate = default if given is None else given
        if not 0 < rate <= 1:
            raise SettingsError(f"`{option}` must be above 0 and at most 1")
    model = args.verify_model or settings.verify_model
    if args.verify_model and pricer.cost(model, Usage(1_000, 1), time.time()) is None:
        raise SettingsError(f"`--verify-model`: `{model}` has no price; see `CACHESERVER_PRICES`")
    return Verification(
        model,
        ErrorRates(rates["--verify-sensitivity"], rates["--verify-false-yes"]),
        settings.verify_max_tokens,
    )


def _steps(
    args: argparse.Namespace,
    settings: Settings,
    prices: str | None,
    found: Iterator[Call],
    verification: Verification,
) -> Iterator[tuple[Call, Step]]:
    """Replay every request."""
    from cacheserver.analysis.audit.factories import EngineFactory, patient
    from cacheserver.analysis.replay import workers
    from cacheserver.core.types import Bar, Tenant
    from cacheserver.embedding import build
    from cacheserver.promptcache.prefixes import MOST

    settings = patient(settings)
    build.close(build.load(settings))  # what is wrong is said here, not by each process
    tenant = Tenant(
        "default",
        default_ttl_s=args.ttl,
        max_ttl_s=max(args.ttl, Tenant("default").max_ttl_s),
        bar=Bar(target=args.target),
    )
    processes = _processes(args)
    # What is remembered is shared out, so that many remember no more than the server would.
    factory = EngineFactory(
        settings,
        tenant,
        prices,
        entries=args.most_entries // processes,
        texts=args.most_texts // processes,
        prefixes=MOST // processes,
        verification=verification,
    )
    if args.one_tenant:
        found = (replace(call, tenant="default") for call in found)
    return workers.replay(found, factory, processes=processes)


def _processes(args: argparse.Namespace) -> int:
    """Return the number of processes: by default one for a short log, else one for each core."""
    from cacheserver.analysis.audit.formats.reading import files_of, size_of

    if args.processes is not None:
        return args.processes or os.cpu_count() or 1
    return 1 if size_of(files_of(args.paths)) < _SEVERAL else os.cpu_count() or 1


def _fetch(url: str, reading: ReadLog, since: float | None, until: float | None) -> None:
    """Read Anthropic's reports of a range of whole days; by default the last 30 and today."""
    from cacheserver.analysis.audit.admin import pages
    from cacheserver.analysis.audit.formats.containers import unfolded
    from cacheserver.analysis.audit.formats.reading import DAYS, book
    from cacheserver.core.errors import SettingsError

    key = os.environ.get("ANTHROPIC_ADMIN_KEY", "")
    if not key:
        raise SettingsError("`--admin` needs `ANTHROPIC_ADMIN_KEY`: an Admin key of the Console")
    end = time.time() if until is None else until
    start = end - DAYS * 86_400 if since is None else since
    reading.files += 1
    for where, page in pages(key, start // 86_400 * 86_400, -(-end // 86_400) * 86_400, url=url):
        for record in unfolded(page):
            reading.lines += 1
            book(record, where, reading)


def _time(option: str, text: str | None) -> float | None:
    from cacheserver.analysis.audit.formats.fields import time_of
    from cacheserver.core.errors import SettingsError

    if text is None:
        return None
    found = time_of(text)
    if found is None:
        raise SettingsError(f"`{option}` must be a time such as 2026-11-01 or Unix seconds")
    return found
