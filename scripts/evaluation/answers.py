"""What the upstream of a replay answers: one meaning, several wordings.

A meaning fixes topic, steps and figures; the wording of a call is drawn, so that two answers to
one question differ in words and order, and grouping them is earned.
"""

from __future__ import annotations

from random import Random

WORDINGS = 5

_STEPS = (
    ("open the settings page", "go to the settings page"),
    ("check the last statement", "look through the last statement"),
    ("call the support line", "ring the support line"),
    ("fill in the short form", "complete the short form"),
    ("confirm with the code sent by text", "enter the code that arrives by text"),
    ("wait for the confirmation e-mail", "look out for the e-mail that confirms it"),
    ("choose the account concerned", "select the account it is about"),
    ("keep the receipt at hand", "have the receipt ready"),
    ("compare the two amounts shown", "check both amounts against each other"),
    ("restart the app once", "close the app and start it again"),
    ("ask the shop first", "get in touch with the shop first"),
    ("review the list of recent items", "read through the recent items"),
    ("update the address on file", "bring the address on file up to date"),
    ("note the reference", "write down the reference"),
    ("turn the option off and on", "switch the option off, then on"),
    ("read the terms of the plan", "go through the plan's terms"),
    ("take a photograph of it", "make a picture of it"),
    ("leave it to cool for a while", "let it cool down for a time"),
    ("bring an identity card", "take an identity card along"),
    ("sign the last page", "put a signature on the last page"),
    ("ask a doctor beforehand", "see a doctor before"),
    ("mix it with a little water", "stir in a bit of water"),
    ("print two copies", "have it printed twice"),
    ("park near the entrance", "leave the car close to the entrance"),
    ("book it a week ahead", "reserve it a week in advance"),
    ("listen to the recorded message", "hear the recorded message out"),
    ("hold the button down", "keep the button pressed"),
    ("measure the width", "find out how wide it is"),
    ("invite the others", "send the others an invitation"),
    ("add a pinch of salt", "season it with some salt"),
    ("charge the battery", "fill up the battery"),
    ("pack light clothes", "put light clothes in the bag"),
)
_FIGURES = 0.5  # share of answers that hold one: where none does, wording alone must tell
_UNITS = ("working days", "minutes", "hours", "dollars", "percent")


def answer(meaning: str, topic: str, wording: int) -> str:
    """An answer about `topic`, the same in substance for one `meaning`."""
    fixed = Random(meaning)
    steps = fixed.sample(_STEPS, 4)
    number, unit = fixed.choice((2, 3, 5, 7, 10, 12, 14, 20, 24, 30, 45, 48)), fixed.choice(_UNITS)
    figure = f"{number} {unit}" if fixed.random() < _FIGURES else ""
    one, two, three, four = (step[wording % 2] for step in steps)
    how, with_figure = (
        (f"About {topic}: {one}, then {two}. After that {three} and {four}.", " Count on {}."),
        (
            f"Here is what to do for {topic}. First {one}; next, {two}; finally {three}, "
            f"then {four}.",
            " The figure to expect is {}.",
        ),
        (f"For {topic}, {one}, {two}, {three} and {four}.", " What applies is {}."),
        (
            f"Happy to help with {topic}! Please {one}. Then {two}, and after that {three}; "
            f"lastly {four}.",
            " It comes to {}. Let me know if anything is unclear.",
        ),
        (
            f"{topic.capitalize()} works like this: {one}, {two}, {three}, {four}.",
            " Reckon with {}.",
        ),
    )[wording % WORDINGS]
    return how + (with_figure.format(figure) if figure else "")
