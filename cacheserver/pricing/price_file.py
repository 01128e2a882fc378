"""Price file of the operator, for the server and the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.pricing.prices import Pricer


def read_price_file(settings: Settings, given: Path | None = None) -> str | None:
    """Return the text of the price file of `--prices`, else of `CACHESERVER_PRICES`, else None.

    The text is valid. Raises `SettingsError` naming the line that is not.
    """
    path, named = (settings.prices, "CACHESERVER_PRICES") if given is None else (given, "--prices")
    if path is None:
        return None
    from cacheserver.pricing.prices import load_overrides

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{named}`: {error}") from error
    try:
        load_overrides(text)
    except SettingsError as error:
        raise SettingsError(f"`{named}`: {path}: {error}") from error
    return text


def refuse_unpriced(pricer: Pricer, model: str | None, now: float) -> None:
    """Raise `SettingsError` if `CACHESERVER_COMPARE_WITH` names a model without a price."""
    if model is not None and pricer.rates(model, now) is None:
        raise SettingsError(
            f"`CACHESERVER_COMPARE_WITH`: no price of `{model}` is known; "
            "give it one with `CACHESERVER_PRICES`"
        )


def build_pricer(text: str | None, *, regional: bool = False) -> Pricer:
    """Build a pricer from the rows of `text`; models that it does not name have built-in prices.

    `regional`: a cloud serves all calls in one region, which costs a tenth more.
    """
    from cacheserver.pricing.prices import Pricer, load_overrides
    from cacheserver.pricing.regional import RegionalPricer

    kind = RegionalPricer if regional else Pricer
    return kind(None if text is None else load_overrides(text))
