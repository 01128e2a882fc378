"""The operator's price file, for whoever prices something: the server and the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.pricing.prices import Pricer


def read_price_file(settings: Settings, given: Path | None = None) -> str | None:
    """The text of the file that `--prices` gave, else of `CACHESERVER_PRICES`; None: of neither.

    It can be read as prices. Raises `SettingsError` naming the line.
    """
    from cacheserver.pricing.prices import load_overrides

    path, named = (settings.prices, "CACHESERVER_PRICES") if given is None else (given, "--prices")
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{named}`: {error}") from error
    try:
        load_overrides(text)
    except SettingsError as error:
        raise SettingsError(f"`{named}`: {path}: {error}") from error
    return text


def build_pricer(text: str | None) -> Pricer:
    """Prices calls: by the rows of `text`, and where they name no price by the built-in ones."""
    from cacheserver.pricing.prices import Pricer, load_overrides

    return Pricer(None if text is None else load_overrides(text))
