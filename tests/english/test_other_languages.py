"""Courtesy and typing slips are English: in another language nothing is dropped, and no word is a
slip of an English one.
"""

from __future__ import annotations

import re

import pytest

from cacheserver.english.canonical.typing_slips import misspelt
from cacheserver.english.language import english
from cacheserver.matching.question_text import matched_text

ENGLISH = english()

# What an English reading would take off: greetings, thanks, "so", "ok", "please", "sorry".
WHOLE = {
    "German": (
        "Hi, wie kündige ich meinen Vertrag?",
        "Hello team, wo finde ich die Rechnung?",
        "Wie ändere ich mein Passwort, thanks",
        "So, wie lange dauert die Lieferung?",
        "Ok, welche Karte brauche ich?",
        "Sorry, wann öffnet der Laden, please?",
    ),
    "French": (
        "Hello, comment puis-je annuler ma commande?",
        "Hey, où se trouve ma facture?",
        "Comment changer mon mot de passe, thanks",
        "Ok, quand arrive mon colis?",
        "Quel est le prix du billet, please",
        "Good morning, je cherche une chambre",
    ),
    "Spanish": (
        "Hi, ¿cómo cancelo mi pedido?",
        "Hello team, ¿dónde está mi factura?",
        "¿Cómo cambio mi contraseña, thanks",
        "Ok, ¿cuándo llega mi paquete?",
        "¿Cuánto cuesta el billete, please",
        "Ta, ¿qué tarjeta necesito, cheers",
    ),
    "Portuguese": (
        "Hi, como cancelo o meu pedido?",
        "Hello team, onde fica a minha fatura?",
        "Como posso mudar minha senha atual, thanks",
        "Ok, quando chega a encomenda?",
        "Quanto custa o bilhete, please",
        "Sorry, qual cartão é preciso, cheers",
    ),
    "Italian": (
        "Hi, come annullo il mio ordine?",
        "Hello team, dove trovo la fattura?",
        "Come cambio la mia password, thanks",
        "Ok, quando arriva il pacco?",
        "Quanto costa il biglietto, please",
        "Sorry, quale carta serve, cheers",
    ),
    "Dutch": (
        "Hi, hoe zeg ik mijn abonnement op?",
        "Hello team, waar vind ik mijn factuur?",
        "Hoe wijzig ik mijn wachtwoord, thanks",
        "Ok, wanneer komt mijn pakket?",
        "Hoeveel kost een kaartje naar Gent, please",
        "Sorry, welke kaart heb ik nodig, cheers",
    ),
}

# Pairs that a list of English words, or the dropping of courtesy, would make one.
APART = {
    "German": (
        ("Wo gibt es hier Betten?", "Wo gibt es hier Bitten?"),  # beds, requests
        ("Was bedeutet betten?", "Was bedeutet bitten?"),
        ("Wie schreibt man danke?", "Wie schreibt man bitte?"),
        ("Wie lautet der Name, bitte?", "Wie lautet der Name?"),  # courtesy, and not known to be
        ("Wie komme ich ins museum?", "Wie komme ich ins musuem?"),
        ("Kostet das an Bord etwas?", "Kostet das Bord etwas?"),  # "an" is no article
        ("Wer war die Gattin?", "Wer war der Gatte?"),
    ),
    "French": (
        ("Quel est le centre?", "Quel est le contre?"),  # the centre, the objection
        ("Où se trouve le modele?", "Où se trouve le module?"),
        ("Comment dit-on merci?", "Comment dit-on?"),
        ("Il a dit quoi, a Paris?", "Il dit quoi, Paris?"),  # "a" is no article
        ("Quel est le service, merci", "Quel est le service"),
        ("Quel est le prix du service?", "Quel est le prix du servce?"),
    ),
    "Spanish": (
        ("¿Qué es un trastorno mental?", "¿Qué es un trastorno mentol?"),
        ("¿Va a casa hoy?", "¿Va casa hoy?"),  # "a" is no article
        ("¿Cómo se dice gracias?", "¿Cómo se dice?"),
        ("¿Cuál es el precio, por favor?", "¿Cuál es el precio?"),
        ("¿Dónde está el hospital?", "¿Dónde está el hopsital?"),
        ("¿Ha llegado el no?", "¿Ha llegado el?"),
    ),
    "Portuguese": (
        ("Vou a pé para a cidade?", "Vou pé para cidade?"),  # "a" is a word of weight
        ("Como se diz obrigado?", "Como se diz?"),
        ("Qual é o preço, por favor?", "Qual é o preço?"),
        ("Onde fica o hospital?", "Onde fica o hopsital?"),
        ("O social paga a conta?", "O socal paga a conta?"),
        ("É a avó que paga?", "É o avô que paga?"),  # grandmother, grandfather
    ),
    "Italian": (
        ("Vado a casa di Anna?", "Vado casa di Anna?"),
        ("Come si dice grazie?", "Come si dice?"),
        ("Quanto costa, per favore?", "Quanto costa?"),
        ("Dove si trova il computer?", "Dove si trova il computr?"),
        ("Serve una password nuova?", "Serve una pasword nuova?"),
        ("Ha un anno di garanzia?", "Ha un nonno di garanzia?"),
    ),
    "Dutch": (
        ("Hoe laat gaat de trein, dank je?", "Hoe laat gaat de trein?"),
        ("Hoe schrijf je dank u?", "Hoe schrijf je?"),
        ("Waar staat het museum?", "Waar staat het musuem?"),
        ("Hoe vaak rijdt de tram ten noorden?", "Hoe vaak rijdt de tram 10 noorden?"),
        ("Welke account hoort hierbij?", "Welke acount hoort hierbij?"),
        ("Kun je alsjeblieft stoppen?", "Kun je stoppen?"),
    ),
}
# Short lines whose words are words of English, too.
FOREIGN_LINES = """
Was will er in Wien? | Was war am Abend in Wien? | Will er am Abend so was?
Hat er das so im Griff?
Is de winkel open? | Wat is de prijs? | Wat is in de la? | Is het in de kast? | We had in mei vrij
De was is in | Waar is mijn pakket? | Is er nog iemand? | Hij was in de war | Of is het in de doos?
No me has dado la factura | No me has dado a tiempo | Me has cobrado de mas | No me llega el pedido
A cor do carro no site | As lojas do Porto | O que me falta | As cores do carro no site
On a fait or | On me doit un remboursement | On a combien de jours? | Or on a dit
I prezzi in Italia? | I miei ordini | A me non arriva | A me no
"""
ENGLISH_LINES = """
Can I pay by card? | I need a refund | is my order shipped | do you ship to canada | how is it made
Is Unity a desktop? | are you open | what is sql | I lost my phone | Is it safe?
A transaction is showing more than once. | I forgot a password | get me a taxi at noon
"""


# The same kinds of change where the text is known to be English.
IN_ENGLISH = (
    ("Hi, how do I cancel my contract?", "How do I cancel my contract?"),
    ("Hello team, where do I find the bill?", "Where do I find the bill?"),
    ("How do I change my password, thanks", "How do I change my password"),
    ("So, how long does the delivery take?", "How long does the delivery take?"),
    ("Ok, which card do I need?", "Which card do I need?"),
    ("Where is the hospital?", "Where is the hopsital?"),
    ("How do I reset my account?", "How do I reset my acount?"),
)


def matched(text: str) -> str:
    found = matched_text(text, ENGLISH)[0]
    assert found is not None, text
    return found


def twins(one: str, other: str) -> bool:
    left, right = (ENGLISH.profile(matched(text)) for text in (one, other))
    return ENGLISH.are_twins(ENGLISH.compare(left, right))


@pytest.mark.parametrize("language", WHOLE)
def test_no_courtesy_is_taken_off_another_language(language: str) -> None:
    assert len(WHOLE[language]) >= 5
    for text in WHOLE[language]:
        assert matched(text) == text


@pytest.mark.parametrize("language", APART)
def test_no_word_is_dropped_or_mended_in_another_language(language: str) -> None:
    assert len(APART[language]) >= 5
    for one, other in APART[language]:
        assert twins(one, one), one
        assert not twins(one, other), (one, other)


@pytest.mark.parametrize(("one", "other"), IN_ENGLISH)
def test_the_same_is_dropped_and_mended_in_english(one: str, other: str) -> None:
    assert twins(one, other)


def test_english_lists_would_take_words_of_others_for_slips() -> None:
    """Else the pairs above would show nothing."""
    for word, other in (
        *(("betten", "bitten"), ("centre", "contre"), ("modele", "module"), ("mental", "mentol")),
        *(
            ("hospital", "hopsital"),
            ("museum", "musuem"),
            ("computer", "computr"),
            ("service", "servce"),
            ("social", "socal"),
            ("account", "acount"),
        ),
    ):
        assert misspelt(word, other), (word, other)


@pytest.mark.parametrize(
    "text", [line.strip() for line in re.split(r"[|\n]", FOREIGN_LINES) if line.strip()]
)
def test_lines_that_share_words_with_english_are_not_taken_for_it(text: str) -> None:
    assert not ENGLISH.profile(text).recognised


@pytest.mark.parametrize(
    "text", [line.strip() for line in re.split(r"[|\n]", ENGLISH_LINES) if line.strip()]
)
def test_short_english_lines_are_known(text: str) -> None:
    assert ENGLISH.profile(text).recognised
