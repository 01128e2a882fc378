"""The running kernel and the places to plug into: every capability is built with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cacheserver.cache.build import Answers
from cacheserver.cache.plugins import Plugins
from cacheserver.claude.upstream import Upstream
from cacheserver.config.settings import Settings
from cacheserver.ledger.build import LedgerParts
from cacheserver.ledger.recorder import RecordedClaude
from cacheserver.live.build import Live
from cacheserver.observability.gauge_sampler import GaugeSource
from cacheserver.observability.metrics import Metrics
from cacheserver.peers.peers import Peers
from cacheserver.peers.roster import Roster
from cacheserver.peers.work_lease import WorkLeases
from cacheserver.pricing.prices import Pricer
from cacheserver.storage.build import Store
from cacheserver.tenants.store import Tenants


@dataclass(slots=True)
class Host:
    """Passed to each `build`, which plugs its parts into `plugins` and `gauges`.

    `settings` are those in force; a part that keeps a live one listens to `live`.
    """

    settings: Settings
    live: Live
    store: Store
    peers: Peers
    roster: Roster
    leases: WorkLeases
    answers: Answers
    claude: Upstream
    tenants: Tenants
    ledger: LedgerParts
    pricer: Pricer
    metrics: Metrics
    clock: Callable[[], float]
    plugins: Plugins = field(default_factory=Plugins)
    gauges: list[GaugeSource] = field(default_factory=list)

    def recorded(self, kind: str) -> RecordedClaude:
        """Return a Claude whose calls the ledger records as spending of `kind`."""
        return RecordedClaude(kind, claude=self.claude, books=self.ledger.spend, clock=self.clock)
