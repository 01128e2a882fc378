"""What slowly goes out of date ("who is the president", "most goals in a season"), in log-odds.

Written by hand, fitted on nothing. SituatedQA, on which such weights can be fitted, states no
licence, so nothing learned from it is shipped; `scripts/train_volatility` fits that variant for
comparison and holds both against the half of its questions that the fit has not seen.

Features: words, pairs of neighbours, `^ word` for the first. `<year>` is any year from 1700 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drift:
    """An additive model: log-odds of an answer that changes over months, and where that counts."""

    bias: float
    bar: float  # probability, inclusive
    weights: Mapping[str, float]


def _each(weight: float, features: str) -> dict[str, float]:
    return dict.fromkeys((f.strip().replace("_", " ") for f in features.split()), weight)


OWN = Drift(
    bias=-2.2,
    bar=0.6,  # of what it names on the unseen half 91% depends on the time; it finds 54%
    weights={
        # Dated questions and works of art hold still.
        "<year>": -3.5,
        **_each(
            -1.5,
            "wrote sings sang sung song lyrics invented originated founded first directed composed"
            " discovered played plays movie film character century introduced battle war born died"
            " episode book meaning originate began begin formed mean cast",
        ),
        **_each(-3.0, "season_<num> episode_<num> <num>_season the_first"),
        **_each(-1.2, "^_when ^_where ^_why was did were"),
        # Offices and titles change hands; "was" above takes most of it back.
        **_each(1.0, "who_is who's_the ^_who who_has who_holds who_owns who_runs"),
        **_each(
            2.0,
            "president minister ceo cm governor senator mayor king queen coach manager captain"
            " owner chairman champion champions ambassador commissioner quarterback chancellor pope"
            " secretary speaker treasurer prime_minister head_of leader director holder chief",
        ),
        # Superlatives and records get broken.
        **_each(
            1.6,
            "most highest largest biggest fastest richest longest oldest youngest tallest busiest"
            " best top lowest cheapest greatest strongest number_1",
        ),
        **_each(1.0, "record records ever all_time the_world in_history"),
        **_each(2.2, "has_the have_the has_won have_won has_scored has_been have_been"),
        **_each(3.5, "last_time the_last"),
        **_each(1.2, "last won win winner"),
        # Counts and figures that grow.
        **_each(
            1.8,
            "ranked ranking rank price cost salary wage paid",
        ),
        **_each(3.0, "population gdp unemployment net_worth"),
        **_each(1.3, "how_many"),
        **_each(
            1.0,
            "has have titles championships goals wins trophies medals rings countries members"
            " people users stores times titles there_in are_there points runs",
        ),
        **_each(2.5, "how_old still_alive is_still still how_long_has"),
        # News of its day.
        **_each(
            2.5, "new newest latest current currently present now recent recently upcoming next"
        ),
        **_each(1.5, "come_out comes_out coming_out start_again released coming"),
        # Sports have seasons.
        **_each(
            1.0,
            "nba nfl nhl mlb ipl fifa uefa league cup olympics wimbledon nascar ufc wwe playoffs"
            " championship season series bowl open final finals award awards",
        ),
    },
)
