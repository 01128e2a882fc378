"""Settings in which the servers on one store are to agree, as text without secrets."""

from __future__ import annotations

from typing import Final

from cacheserver.config.settings import Settings
from cacheserver.config.sources import variable

# Each is the default of a tenant, a bound of what all store together, or part of what is shared: a
# request gets another answer by the server that it meets.
_SHOULD: Final = (
    *("credentials", "default_model", "features_off"),
    *("default_ttl_s", "max_ttl_s", "similarity", "target", "top_k"),
    *("index", "embedder_prior"),
    *("max_bytes", "max_decision_bytes", "max_job_bytes", "max_label_bytes", "max_ledger_bytes"),
)


def must_agree(settings: Settings) -> dict[str, str]:
    """Return the settings that do harm where two servers differ.

    Made-up answers would be among the sums of real money, and a server without a master key would
    store in plain text what the other encrypts.
    """
    keys = (settings.encryption_key_file, settings.encryption_key_command)
    return {
        variable("upstream"): "simulated" if settings.upstream == "simulated" else "Claude",
        variable("encryption_key_file"): "set"
        if any(key is not None for key in keys)
        else "not set",
    }


def should_agree(settings: Settings, *, embedder: str) -> dict[str, str]:
    """Return the settings that differ while servers are replaced one after another, at most."""
    found = {variable(name): str(getattr(settings, name)) for name in _SHOULD}
    upstream = settings.upstream or "anthropic"  # no URL with a password is taken
    return {**found, variable("embedder"): embedder, variable("upstream"): upstream}
