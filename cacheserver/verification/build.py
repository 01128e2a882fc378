"""Builds verification: the model's calls, the memory of verdicts, and the audited rates."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cacheserver.config.settings import Settings
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import SettingsError
from cacheserver.core.types import Nanodollars, Query, Usage
from cacheserver.host import Host
from cacheserver.matching.verification import ErrorRates
from cacheserver.verification.audited import AuditedVerdicts
from cacheserver.verification.gauges import VerificationGauges
from cacheserver.verification.model_call import ModelCall, Spending
from cacheserver.verification.monitor import Monitor
from cacheserver.verification.verdicts import Verdicts
from cacheserver.verification.verifier import Verifier, VerifierOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VerificationParts:
    """Verifier, and the parts that operators read."""

    verifier: Verifier
    audited: AuditedVerdicts
    call: ModelCall
    background: BackgroundWork
    model: str
    stated: ErrorRates


@asynccontextmanager
async def build(host: Host, spending: Spending) -> AsyncIterator[VerificationParts]:
    """Verify until the block ends. Raises `SettingsError` if the model has no price.

    That is decided by the environment and its prices: what an admin changed while servers ran never
    keeps one from starting. With a cap that an admin set and no price, nothing is spent.
    """
    settings, store, clock = host.settings, host.store, host.clock
    model = settings.verify_model

    if host.live.settings.base.verify_usd_per_day and not host.pricer.base(
        model, clock(), "standard"
    ):
        raise SettingsError(
            f"`CACHESERVER_VERIFY_MODEL`: `{model}` has no price; see `CACHESERVER_PRICES`"
        )
    audited = AuditedVerdicts(store.redis, model=model, clock=clock, prefix=store.prefix)
    background = BackgroundWork("verify", host.metrics, limit=64, at_once=4)
    refunds = BackgroundWork("verify-refund", host.metrics)
    call = ModelCall(
        claude=host.recorded("verify"),
        pricer=host.pricer,
        spending=spending,
        metrics=host.metrics,
        clock=clock,
        cap=0,
        key_share=settings.verify_key_share,
        refunds=refunds,
    )
    stated = ErrorRates(settings.verify_sensitivity, settings.verify_false_yes)
    verifier = Verifier(
        options=_options(settings, stated),
        call=call,
        verdicts=Verdicts(store.redis, model=model, prefix=store.prefix),
        audited=audited,
        monitor=Monitor(host.metrics),
        background=background,
        metrics=host.metrics,
        clock=clock,
    )

    def use(settings: Settings) -> None:
        cap = round(settings.verify_usd_per_day * 1_000_000_000)
        if cap and host.pricer.cost(model, Usage(1_000, 1), clock()) is None:
            cap = 0  # what has no price cannot be bounded
            host.metrics.swallowed("verify-price")
            logger.error("nothing is verified: `%s` has no price", model)
        call.cap = cap
        call.key_share = settings.verify_key_share
        verifier.options = _options(settings, stated)

    def ended(query: Query, at: float, cost: Nanodollars | None) -> None:
        verifier.paces.of(query.tenant.name).note_request(free=cost == 0)

    host.live.settings.listen(use)
    host.live.prices.listen(lambda: use(host.live.settings.current))
    host.plugins.verifier = verifier
    host.plugins.listeners.append(ended)
    host.gauges.append(VerificationGauges(audited, host.metrics.gauges))
    try:
        yield VerificationParts(verifier, audited, call, background, model, stated)
    finally:
        await background.close()
        await refunds.close()


def _options(settings: Settings, stated: ErrorRates) -> VerifierOptions:
    return VerifierOptions(
        model=settings.verify_model,
        timeout_s=settings.verify_timeout_s,
        most_tokens=settings.verify_max_tokens,
        stated=stated,
        audit_share=settings.verify_audit_share,
    )
