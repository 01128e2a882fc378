"""Word lists for `evidence`, from general knowledge and failures on train splits only.

Each list is a string of words; functions build the look-ups once, for a `Lexicon`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

_STOP = """
a an the is are was were be been being am do does did done doing i me my mine myself you your
yours yourself it its itself this that these those of to in on at for from with by as and or but
if so than then there here can could should would will shall may might must have has had having
what how why when where who whom whose which whether we our they them their he him his she her
about into out up down off over under between through during before after above below again not no
nor any some all just very too also only own same s t d ll m o re ve y got gets get's let lets 's
"""

# Words around a question, or inside it, that do not change it.
_FILLER = """
please thanks thank thx cheers hi hello hey ok okay sorry excuse kindly tell say asking ask wonder
wondering help helping explain show know want wanted need like way ways steps step really actually
currently exactly basically simply indeed fact curious quick question anyone anybody someone
somebody possible able mean advance appreciated grateful lost guys sir madam appreciate details
detail give wants trying try bit much ever even still go about
"""

# (words, idf): roughly the log of how many public questions (QQP and AskUbuntu train, counts only)
# come on one that holds the word, rounded to halves; anything else counts as rare.
_COMMON = (
    (4.0, "best good way people life make most time new use people between like"),
    (4.5, """
difference money work know without learn find install start many think world more better other
year become first want using mean need take day change help more much
"""),
    (5.0, """
weight job system feel phone things buy love old online computer used compare software account
english increase improve back number movies movie long books war question thing working different
win stop free book business password see live website error language company app years examples
same problem boot card screen bad country file two
"""),
    (5.5, """
science study real women read fix top average school right exam learning high remove days car
video important travel run student safe home create name university career government come
students watch companies write men web play update internet places open look place hard drive add
files great future next experience visit email man friend game eat bank earn upgrade answer human
word music big interview last list cost friends service social history age power process tips
options support height server body woman reduce end state worth countries month keep application
set space program food version test class wrong send delete order money price week
"""),
)  # fmt: skip
RARE = 7.0  # a word the table does not hold
RAREST = 8.5  # a word with a digit in it, or a name

_SYNONYMS = """
buy purchase | fix repair | begin start | delete remove erase | big large | quick fast | quickly
fast | error issue | problem issue | picture photo | image photo | movie film | show display |
folder directory | kid child | children child | doctor physician | car automobile | incorrect
wrong | easy simple | hard difficult | internet web online | benefit advantage | drawback
disadvantage | downside disadvantage | pro advantage | con disadvantage | company firm |
university college | rich wealthy | happen occur | ill sick | medicine medication | pc computer |
notebook laptop | mobile phone | cellphone phone | smartphone phone | js javascript | golang go |
postgres postgresql | k8s kubernetes | usa america | america usa | uk britain | bike bicycle | tv
television | job position | salary pay | wage pay | create make | build make | earn make | need
require | choose select | pick select | cancel terminate | quick fast | method way | usage use |
utilize use | obtain get | receive get | vs versus | differ difference | different difference |
distinction difference | smart intelligent | app application | cost price | fee price | movie film
| lawyer attorney | fridge refrigerator | photograph photo | ai artificialintelligence | colour
color | favourite favorite | centre center | organise organize | realise realize | grey gray |
program programme
"""

_ANTONYMS = """
increase decrease reduce | raise lower | enable disable | activate deactivate | install uninstall
| start stop end finish | open close | add remove | best worst | more less | most least | many few
| buy sell | rent own | upload download | import export | lock unlock | mount unmount | encrypt
decrypt | hide show | encode decode | advantage disadvantage | gain lose | win lose | good bad |
better worse | cheap expensive | cheapest expensive | fast slow | faster slower | high low |
higher lower | highest lowest | maximum minimum | max min | upgrade downgrade | connect disconnect
| accept reject | accept decline | push pull | send get | cause prevent cure treat | symptom cause
treatment | create destroy | read write | internal external | public private | deposit withdraw |
ascending descending | legal illegal | safe dangerous | safe unsafe | love hate | easy hard |
possible impossible | happy sad | rich poor | old new | young old | small big | smaller bigger |
smallest biggest largest | tall short | taller shorter | hot cold | warm cold | light dark | left
right | up down | on off | turnon turnoff | switchon switchoff | login logout | signin signout |
signup unsubscribe | powerup powerdown | poweron poweroff | checkin checkout | optin optout |
inside outside | in out | over under | above below | before after | until after | since before |
first last | previous next | past future | early late | earlier later | longest shortest | long
short | local remote | temporarily permanently | manually automatically | positive negative |
optimistic pessimistic | male female | men women | man woman | boy girl | husband wife | mother
father | son daughter | brother sister | he she | him her | his her | input output | client server
| north south | east west | oldest youngest | older younger | strong weak | stronger weaker |
strength weakness | success failure | succeed fail | pass fail | inner outer | major minor | upper
lower | full empty | arrive depart | borrow lend | teach learn | hire fire | employer employee |
guilty innocent | introvert extrovert | domestic foreign | war peace | birth death | bear die |
born died | birth die | polite rude | patient impatient | confident insecure | humble arrogant |
brave cowardly | active passive | active lazy | clean dirty | appropriate inappropriate | visible
hidden | hidden visible | wet dry | boil freeze | inhale exhale | acquire divest | marry divorce |
attack defend | allow forbid | allow block | permit deny | approve deny | import export | true
false | help hurt | heat cool | credit debit | income expense | profit loss | asset liability |
bull bear | shrink grow | shrink extend | narrow wide | deep shallow
"""

# Canonical form first.
_UNITS = """
mg milligram milligrams | mcg microgram micrograms ug | g gram grams | kg kilogram kilograms kilo
kilos kgs | lb lbs pound pounds | oz ounce ounces | t ton tons tonne tonnes | km kilometer
kilometers kilometre kilometres kms | mi mile miles | m meter meters metre metres | cm centimeter
centimeters | mm millimeter millimeters | ft foot feet | in inch inches | yd yard yards | l liter
liters litre litres | ml milliliter milliliters | gal gallon gallons | cup cups | tbsp tablespoon
tablespoons | tsp teaspoon teaspoons | pint pints | s sec secs second seconds | min mins minute
minutes | h hr hrs hour hours | d day days | wk week weeks weekly | mo month months monthly | yr
year years yearly annual annually | daily | celsius centigrade c | fahrenheit f | kelvin | mph |
kmh km/h kph | knot knots | kb kilobyte kilobytes | mb megabyte megabytes | gb gigabyte gigabytes
gig gigs | tb terabyte terabytes | bit bits | byte bytes | usd dollar dollars $ bucks | eur euro
euros € | gbp £ | jpy yen ¥ | inr rupee rupees rs ₹ | chf franc francs | % percent pct | kwh | w
watt watts | kw | v volt volts | amp amps | mah | hz | mhz | ghz | kcal calorie calories | px
pixel pixels | mbps | gbps | k | million millions | billion billions | lakh lakhs | crore crores
"""
# Ambiguous alone; units only after a number.
_ONLY_AFTER_NUMBER = "m in c f g l s h d t k v w second minute bit daily"

_TIMES = """
january jan | february feb | march | april apr | may | june jun | july jul | august aug |
september sep sept | october oct | november nov | december dec | monday mon | tuesday tue |
wednesday wed | thursday thu | friday fri | saturday sat | sunday sun | today | tomorrow |
yesterday | tonight | morning | afternoon | evening | night | noon | midnight | spring | summer |
autumn | winter | christmas | easter | halloween | weekend | weekday
"""

_NEGATIONS = """
not no never none nobody nothing neither nor without cannot can't don't doesn't isn't aren't won't
wouldn't shouldn't couldn't didn't wasn't weren't hasn't haven't hadn't ain't dont doesnt isnt
cant wont didnt non except
"""

_NUMBERS = """
zero 0 one 1 two 2 three 3 four 4 five 5 six 6 seven 7 eight 8 nine 9 ten 10 eleven 11 twelve 12
thirteen 13 fourteen 14 fifteen 15 sixteen 16 eighteen 18 twenty 20 thirty 30 forty 40 fifty 50
sixty 60 hundred 100 thousand 1000
"""

_PHRASAL = """
turnon turnoff switchon switchoff shutdown shutup startup logon logoff login logout signin signout
signup powerup powerdown poweron poweroff bootup opton optin optout checkin checkout backup
"""

# The words on their two sides cannot be exchanged...
_DIRECTED = """
to into than from before after over under instead rather by toward towards onto via because above
below inside outside beats beat
"""
# ...unless one of these is present.
_SYMMETRIC = """
between and or vs versus compare compared comparison difference differ both same similar distance
apart together common relationship married marry related equal dating date engaged divorced
sibling cousin friend partner met meet tied connected linked neighbor compatible
"""

_ASKS = "what how why when where who whom whose which can should is are does do"
_PREPOSITIONS = """
in on for with of at about than to from before after by into over per under during using as many
much
"""
_PARTICLES = "on off up down in out"
_BE = "is are was were be been being get got"
_PRONOUNS = "he she him her his hers they them"
# Names that are function words in small letters, months and days that are words of their own.
_NAMED_LIKE_SKIP = "Go IT US Will C R D"
_TIME_IF_CAPITAL = "may march mon sun sat wed dec mar jun"

# Words that narrow a question to a special case, or lift one.
_QUALIFIERS = """
without except excluding unless fake former retired vegan vegetarian glutenfree unpaid offline
manually temporarily permanently pregnancy pregnant breastfeeding abroad remotely overnight
becoming besides secondhand
"""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Look-ups over the word lists."""

    skip: frozenset[str]  # carries no meaning of its own
    idf: Mapping[str, float]
    same: Mapping[str, str]  # word -> the word it counts as
    opposite: Mapping[str, frozenset[str]]
    unit: Mapping[str, str]
    unit_after_number_only: frozenset[str]
    time: Mapping[str, str]
    negation: frozenset[str]
    number: Mapping[str, str]
    phrasal: frozenset[str]
    directed: frozenset[str]
    symmetric: frozenset[str]
    qualifier: frozenset[str]
    asks: frozenset[str]
    preposition: frozenset[str]
    particle: frozenset[str]
    be: frozenset[str]
    pronoun: frozenset[str]
    named_like_skip: frozenset[str]
    time_if_capital: frozenset[str]
    function: frozenset[str] = field(init=False)  # all words with a grammatical role

    def __post_init__(self) -> None:
        function = self.asks | self.negation | self.particle | self.preposition | self.pronoun
        object.__setattr__(self, "function", function | self.be | self.skip)


@cache
def standard() -> Lexicon:
    """Return the lexicon that ships; built once, in about a millisecond."""
    numbers = _NUMBERS.split()
    opposite: dict[str, frozenset[str]] = {}
    for group in _groups(_ANTONYMS):
        for word in group:
            others = frozenset(stem(other) for other in group if other != word)
            opposite[stem(word)] = opposite.get(stem(word), frozenset()) | others
    return Lexicon(
        skip=frozenset((_STOP + " " + _FILLER).split()),
        idf={stem(word): idf for idf, words in reversed(_COMMON) for word in words.split()},
        same={stem(word): stem(group[-1]) for group in _groups(_SYNONYMS) for word in group},
        opposite=opposite,
        unit={word: group[0] for group in _groups(_UNITS) for word in group},
        unit_after_number_only=frozenset(_ONLY_AFTER_NUMBER.split()),
        time={word: group[0] for group in _groups(_TIMES) for word in group},
        negation=frozenset(_NEGATIONS.split()),
        number=dict(zip(numbers[::2], numbers[1::2], strict=True)),
        phrasal=frozenset(_PHRASAL.split()),
        directed=frozenset(_DIRECTED.split()),
        symmetric=frozenset(stem(word) for word in _SYMMETRIC.split()),
        qualifier=frozenset(stem(word) for word in _QUALIFIERS.split()),
        asks=frozenset(_ASKS.split()),
        preposition=frozenset((_PREPOSITIONS + _DIRECTED).split()),
        particle=frozenset(_PARTICLES.split()),
        be=frozenset(_BE.split()),
        pronoun=frozenset(_PRONOUNS.split()),
        named_like_skip=frozenset(_NAMED_LIKE_SKIP.split()),
        time_if_capital=frozenset(_TIME_IF_CAPITAL.split()),
    )


def words(text: str) -> frozenset[str]:
    """Split a list of words into a set."""
    return frozenset(text.split())


def stem(word: str) -> str:
    """Return the stem of a word: "installing" and "installs" -> "install"."""
    return _cached_stem(word) if len(word) <= _LONGEST_CACHED else _stem(word)


def _stem(word: str) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and word[-2] not in "su":
        word = word[:-1]
    if word.endswith("ing") and len(word) > 5:
        word = _undouble(word[:-3])
    elif word.endswith("ed") and len(word) > 4:
        word = _undouble(word[:-2])
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


_cached_stem = lru_cache(maxsize=16_384)(_stem)  # some 2 MB
_LONGEST_CACHED = 24  # letters: a megabyte without a space is a word, too


def _undouble(word: str) -> str:
    doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz"
    return word[:-1] if doubled else word


def _groups(text: str) -> list[list[str]]:
    return [group.split() for group in text.split("|")]
