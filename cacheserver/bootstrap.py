"""Builds a server from its settings, part by part, and takes it down in reverse.

Each package builds its own parts in its `build.py`. This module is the list of them: the kernel and
the books first, then the capabilities that plug into them, but for those switched off.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import cacheserver.alerts.build as alerts
import cacheserver.audit_jobs.build as audit_jobs
import cacheserver.batches.build as batches
import cacheserver.budgets.build as budgets
import cacheserver.cache.build as cache
import cacheserver.calibration.build as calibration
import cacheserver.claude.build as claude
import cacheserver.conversations.build as conversations
import cacheserver.embedded.build as embedded
import cacheserver.embedding.build as embedding
import cacheserver.encryption.build as encryption
import cacheserver.erasure.build as erasure
import cacheserver.ledger.build as ledger
import cacheserver.live.build as live
import cacheserver.observability.build as observability
import cacheserver.output_caps.build as output_caps
import cacheserver.passthrough.build as passthrough
import cacheserver.peers.build as peers
import cacheserver.promptcache.build as promptcache
import cacheserver.routing.build as routing
import cacheserver.sample_traffic.build as sample_traffic
import cacheserver.storage.build as storage
import cacheserver.tenants.build as tenants
import cacheserver.verification.build as verification
import cacheserver.webhooks.build as webhooks
from cacheserver.alerts.spend_history import SpendHistory
from cacheserver.api.components import Capabilities, Components
from cacheserver.batches.context import Intervals
from cacheserver.claude.platforms.rules import LACKING
from cacheserver.config import agreement, kernel
from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings, resolve_upstream
from cacheserver.core.features import Feature, switched_off
from cacheserver.host import Host
from cacheserver.languages.rules import languages
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.version import installed_version
from cacheserver.peers.roster import About
from cacheserver.pricing import price_file
from cacheserver.sample_traffic.claude import direct
from cacheserver.simulated import SimulatedSettings, serve_simulated
from cacheserver.storage.build import StoreServer
from cacheserver.webhooks import safe_post
from cacheserver.webhooks.safe_post import Resolve

T = TypeVar("T")


@asynccontextmanager
async def build(
    settings: Settings,
    *,
    server: StoreServer | None = None,
    clock: Callable[[], float] = time.time,
    pace: Intervals | None = None,
    resolve: Resolve = safe_post.resolve,
    otel: OtelChoice | None = None,
    worker: int = 0,
) -> AsyncIterator[Components]:
    """Start every part and yield them; stop them on the way out, answers under way first.

    `server` is that of the store, if it runs already. `pace` is how often batches are looked after,
    `resolve` how the hosts of webhooks are found, `otel` where traces and metrics go.
    `worker` numbers processes that share a data directory.

    Raises `SettingsError` for what an operator must change, `StoreError` if Redis is away.
    """
    # What an operator must change is reported before anything is started.
    choice, metrics = resolve_upstream(settings), Metrics()
    simulated, cloud = choice.base_url is None, choice.cloud
    off = switched_off((*settings.features_off, *(() if cloud is None else LACKING)))
    regional = cloud is not None and not cloud.is_global
    pricer = price_file.build_pricer(price_file.read_price_file(settings), regional=regional)
    price_file.refuse_unpriced(pricer, settings.compare_with, clock())
    mail = alerts.mail_server(settings)
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context

        async def plug(feature: Feature, part: AbstractAsyncContextManager[T]) -> T | None:
            return None if feature in off else await start(part)

        telemetry = await start(observability.telemetry(otel, metrics.dropped))
        embedder = await start(embedding.build(settings))

        # The stores, Claude, and the books.
        if server is None:
            server = await start(embedded.build(settings))
        sealer = encryption.build(settings, metrics.unreadable)
        must = agreement.must_agree(settings)
        sealer = peers.agreeing(sealer, must, server.prefix)
        store = await start(storage.build(server, sealer, metrics, clock))
        others = await start(peers.build(store, metrics.swallowed))
        leases = await start(peers.work(store, others, metrics.swallowed))
        changes = await start(live.build(store, others, settings, pricer, metrics, clock))
        settings, follow = changes.settings.current, changes.settings.listen
        should = agreement.should_agree(settings, embedder=embedder.embedder.id)
        # Said before the index is opened: the last server to move away would delete it.
        about = About(installed_version(), clock(), must, should, indexes=[settings.index])
        roster = await start(peers.roster(store, others, about, metrics.swallowed))
        follow(lambda now: roster.says(agreement.should_agree(now, embedder=embedder.embedder.id)))
        options = kernel.cache_options(settings, worker=worker)
        books = await start(ledger.build(store, leases, changes.settings, pricer, metrics, clock))
        records = books.writer
        answers = await start(
            cache.answers(store, others, roster, leases, embedder, options, metrics, clock, records)
        )
        url = await start(serve_simulated(SimulatedSettings(direct=direct))) if simulated else None
        wrap = None if telemetry is None else telemetry.upstream
        upstream = await start(claude.build(kernel.claude_options(settings, url), metrics, wrap))
        follow(lambda now: kernel.use_live(now, upstream, answers))
        keys = await start(tenants.build(store, others, changes.settings, metrics, clock))
        host = Host(
            settings,
            changes,
            store,
            others,
            roster,
            leases,
            answers,
            upstream,
            keys,
            books,
            pricer,
            metrics,
            clock,
        )
        follow(lambda now: setattr(host, "settings", now))
        host.plugins.language = languages()
        if telemetry is not None:
            books.listen(telemetry.listeners)

        # What plugs into the path of a request.
        parts = Capabilities()
        parts.budgets = await plug("budgets", budgets.build(host))
        labels = await start(calibration.labels(host))
        parts.calibration = await plug("calibration", calibration.build(host, labels))
        parts.verification = await plug("verification", verification.build(host, labels))
        parts.conversations = await plug("conversations", conversations.build(host))
        owners = await start(passthrough.build(host))  # guards calls also while its routes are off
        parts.passthrough = None if "passthrough" in off else owners
        parts.output_caps = await plug("output-caps", output_caps.build(host))
        parts.prompt_caching = await plug("prompt-caching", promptcache.build(host))
        comparing = None if "trials" in off else parts.calibration
        parts.routing = await plug("routing", routing.build(host, comparing))

        # The path itself.
        path = cache.cache(
            store, others, answers, options, upstream, pricer, books, host.plugins, metrics, clock
        )
        serving = await start(path)

        # What works beside it.
        hooks = await start(webhooks.build(keys.pseudonym, resolve))
        items = None if telemetry is None else telemetry.items
        work = batches.build(host, serving, parts.budgets, hooks, pace or Intervals(), items)
        parts.batches = await plug("batches", work)
        sizes = observability.store_sizes(store)
        follow(lambda now: setattr(sizes, "limits", observability.size_limits(now)))
        unset = tenants.default_tenant(settings)
        sampler = await start(observability.gauges(sizes, host.gauges, keys, unset, metrics))
        spending = SpendHistory(books.reports)
        watch = alerts.build(
            host,
            hooks,
            mail,
            spending,
            parts.calibration,
            parts.routing,
            parts.conversations,
            parts.verification,
        )
        parts.alerts = await plug("alerts", watch)
        parts.erasure = await plug("erasure", erasure.build(host))
        parts.audit_jobs = await plug("analysis", audit_jobs.build(host, holds=worker == 0))
        sample = await start(sample_traffic.build(host))  # last: stopped before all it asks
        observers = () if telemetry is None else telemetry.observers
        done: dict[str, Callable[[], bool]] = {
            work: partial(getattr, leases.of(work), "held") for work in sorted(leases.standing)
        }
        metrics.gauges.watch_servers(lambda: others.live, lambda: others.held, done)
        yield Components(
            host, serving, parts, off, labels, hooks, spending, sizes, sampler, sample, observers
        )
