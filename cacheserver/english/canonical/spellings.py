"""Spelling variants: British and American spellings, and names by case, as one word.

Only words that mean the same in every question are listed. "Tyre" and "tire", "cheque" and
"check", "programme" and "program" are two words; "turkey", "rust" and "target" change their
meaning with their case. English. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cacheserver.english.lexicon import words as listed

_SPELLINGS: Mapping[str, str] = MappingProxyType(
    dict(
        pair.split()
        for pair in (
            *("favourite favorite", "favourites favorites", "colour color", "colours colors"),
            *("behaviour behavior", "neighbour neighbor", "neighbours neighbors", "honour honor"),
            *("flavour flavor", "flavours flavors", "humour humor", "rumour rumor"),
            *("centre center", "centres centers", "theatre theater", "theatres theaters"),
            *("organise organize", "organised organized", "organisation organization"),
            *("organisations organizations", "recognise recognize", "recognised recognized"),
            *("realise realize", "realised realized", "apologise apologize"),
            *("optimise optimize", "optimised optimized", "customise customize"),
            *("customised customized", "minimise minimize", "maximise maximize"),
            *("initialise initialize", "serialise serialize", "synchronise synchronize"),
            *("summarise summarize", "authorise authorize", "authorised authorized"),
            *("categorise categorize", "analyse analyze", "analysed analyzed"),
            *("catalogue catalog", "cancelled canceled", "travelling traveling"),
            *("traveller traveler", "labelled labeled", "aluminium aluminum"),
            *(
                "jewellery jewelry",
                "sceptical skeptical",
                "defence defense",
                "maths math",
                "mathematics math",
            ),
        )
    )
)
# Names of one thing only, in any case, that are not English words as well.
_NAMES = listed(
    """
    africa america australia austria bangladesh belgium brazil canada colombia croatia denmark
    egypt england ethiopia europe finland france germany ghana greece iceland india indonesia iran
    iraq ireland israel italy japan kenya korea kuwait malaysia mexico nepal netherlands
    nigeria norway pakistan philippines portugal qatar romania russia scotland singapore
    spain sweden switzerland taiwan tanzania thailand tunisia uganda ukraine venezuela vietnam
    zimbabwe
    ahmedabad amsterdam bangalore bangkok barcelona beijing bengaluru berlin bhopal
    brussels budapest calcutta california chandigarh chennai chicago copenhagen
    delhi dubai dublin edinburgh florida frankfurt gujarat gurgaon hyderabad istanbul
    jaipur jakarta karachi karnataka kerala kolkata lahore lisbon london lucknow madrid maharashtra
    melbourne montreal moscow mumbai munich nagpur noida oslo patna prague
    punjab pune rajasthan seattle seoul stockholm texas tokyo toronto vadodara
    vancouver warsaw zurich
    african american arabic asian australian brazilian british bengali canadian european german
    hindi indian italian japanese korean malayalam marathi mexican pakistani russian
    sanskrit spanish swedish tamil telugu urdu english french
    facebook gmail google instagram linkedin microsoft netflix paypal quora reddit snapchat spotify
    whatsapp wikipedia youtube airbnb ebay flipkart iphone ipad macbook
    ubuntu linux debian javascript typescript postgres postgresql mysql sqlite mongodb kubernetes
    numpy kotlin github gitlab tensorflow pytorch
    monday tuesday wednesday thursday friday saturday january february november december
    """
)
# Names with an inner capital, as their owners write them.
_WRITTEN = listed(
    """
    LinkedIn PayPal WhatsApp YouTube iPhone iPad MacBook JavaScript TypeScript PostgreSQL MySQL
    SQLite MongoDB NumPy GitHub GitLab TensorFlow PyTorch eBay Airbnb
    """
)
# Words that are no names with a capital either: "the pharmaceutical Industry".
_SMALL = listed(
    """
    advantages benefits college colleges company convolutional courses criteria degree difference
    disadvantages eligibility engineer engineers exam exams industry language languages laptop
    laptops pharmaceutical president programming salary school schools scientist scientists
    students technology university universities website websites
    """
)
# Questions about letters, or with names that a machine distinguishes by case.
_TO_THE_LETTER = listed(
    """
    spell spelled spelt spelling letter letters word words write written
    capital capitals capitalise capitalize capitalized uppercase lowercase case
    variable variables class method function field column constant identifier keyword property
    attribute parameter argument key tag table type enum struct namespace package module css html
    """
)
# With these, two spellings may be compared: "Is it colour in American English?".
_PLACES = listed("british american english uk usa us america britain england")


# From each spelling to the common form.
_NAMED: Mapping[str, str] = MappingProxyType(
    {written: name for name in _NAMES for written in (name, name.capitalize())}
    | {written: written.lower() for written in _WRITTEN}
    | {word.capitalize(): word for word in _SMALL}
)


_EITHER = MappingProxyType({**_NAMED, **_SPELLINGS})


def unify_spellings(words: Sequence[str]) -> Sequence[str]:
    """Replace each word by the common form of its spellings."""
    if not any(word in _NAMED or word in _SPELLINGS for word in words):
        return words
    low = {word.lower() for word in words}
    if not _TO_THE_LETTER.isdisjoint(low):
        return words
    one = _EITHER if _PLACES.isdisjoint(low) else _NAMED
    return [one.get(word, word) for word in words]
