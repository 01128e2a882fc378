"""Builds the audit jobs of a server, and the environment of their processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pydantic import SecretStr

from cacheserver.audit_jobs.folder import AuditFolder
from cacheserver.audit_jobs.jobs import AuditJobs, folder_of
from cacheserver.audit_jobs.process import AuditProcess
from cacheserver.config.settings import Settings
from cacheserver.config.sources import variable
from cacheserver.host import Host
from cacheserver.pricing.price_table import written

_DAY_S: Final = 86_400
# Settings that an audit reads; keys for Claude, the store and admins are not among them.
_READ: Final = (
    *("embedder", "embedder_model", "embedder_key", "embedder_key_file", "embedder_timeout_s"),
    *("embedder_max_bytes", "embedder_prefix", "embedder_prior", "model_dir", "data_dir"),
    *("prices", "verify_model", "verify_sensitivity", "verify_false_yes", "verify_max_tokens"),
)
_OURS: Final = ("CACHESERVER_", "ANTHROPIC_")  # begin the variables that are left out


@asynccontextmanager
async def build(host: Host, *, holds: bool = True) -> AsyncIterator[AuditJobs]:
    """Yield the jobs, at work until the block ends.

    `holds` False: another process has the folder, and is asked for them.
    """
    settings = host.settings
    jobs = AuditJobs(
        AuditFolder(folder_of(settings.data_dir)),
        AuditProcess(environment(settings)),
        sealer=host.store.sealer,
        clock=host.clock,
        swallowed=host.metrics.swallowed,
        prices=lambda: written(host.pricer.rows(host.clock())),
        most_bytes=settings.max_audit_bytes,
        keep_s=settings.audit_days * _DAY_S,
    )
    if holds:
        await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.close()


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables of an audit's process: this one's, with the settings in force."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    for name in _READ:
        value = getattr(settings, name)
        if value is None or name not in settings.model_fields_set:
            continue
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        found[variable(name)] = str(plain)
    return found
