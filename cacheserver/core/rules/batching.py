"""Rules for deferring questions into Message Batches, at half the price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cacheserver.core.rules.bounds import STRICT, Bound

_DAY_S = 86_400  # Claude answers or gives up a batch within it

Seconds = Annotated[int, Bound(least=0, most=_DAY_S)]


@dataclass(frozen=True, slots=True)
class BatchRules:
    """Rules of batching. Off: what was queued is asked at once, and no batch is looked up."""

    __pydantic_config__ = STRICT

    enabled: bool = True

    # Queued work goes out when so much has gathered: a batch costs one call whatever its size, and
    # 1,000 answers are a few megabytes to send and to keep until then.
    flush_size: Annotated[int, Bound(least=1, most=100_000)] = 1_000

    # ... or when the oldest of it has waited so long: little beside the up to an hour that most
    # batches take, and long enough for what one application queues in one go.
    flush_age_s: Seconds = 60

    # Work is batched if its deadline is at least this far away. Most batches end within one hour
    # (Anthropic's page on batch processing); the second hour is for those that do not.
    patience_s: Seconds = 7_200

    # Where Claude's rate limits run low, a nearer deadline will do: an hour.
    low_patience_s: Seconds = 3_600
    # What "low" is: so many per cent of any limit are left.
    low_percent: Annotated[int, Bound(least=0, most=100)] = 10

    # Work without a deadline is asked at full price once it has waited so long: a batch that
    # takes longer than Claude gives one has been given up by then.
    max_wait_s: Annotated[int, Bound(least=60, most=2 * _DAY_S)] = 2 * _DAY_S

    # How long results can be read, from creation: as long as Claude's own (29 days).
    keep_s: Annotated[int, Bound(least=3_600, most=29 * _DAY_S)] = 29 * _DAY_S

    # Where webhooks may go: these hosts, `*.example.com` for all below one. None: any public one.
    webhook_hosts: Annotated[
        tuple[Annotated[str, Bound(pattern=r"(\*\.)?[A-Za-z0-9.:_-]{1,253}")], ...], Bound(most=100)
    ] = ()
    # Private networks that webhooks may reach, as `10.1.0.0/16`; only there may it be plain http.
    # None by default: a server must not be made to knock on its operator's own doors.
    webhook_networks: Annotated[
        tuple[Annotated[str, Bound(pattern=r"[0-9A-Fa-f.:]{2,39}/[0-9]{1,3}")], ...],
        Bound(most=100),
    ] = ()
    # Raised by one, it makes another secret for the webhooks of this tenant.
    webhook_epoch: Annotated[int, Bound(least=0, most=1_000_000)] = 0
