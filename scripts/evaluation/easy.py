"""An easy stream: few intents of one desk, each in many wordings, nothing that resembles another.

All labels of such a scope are right and near, which is where a bar falls furthest.
"""

from __future__ import annotations

from scripts.evaluation.data import Question

# A public library's desk.
_INTENTS = {
    "renew a loan": (
        *("renew my books", "extend my loan", "keep my books for longer"),
        *("prolong a loan", "renew the novel I borrowed", "get another three weeks for my books"),
    ),
    "get a library card": (
        *("get a library card", "sign up for a library card", "become a member of the library"),
        *("register as a reader", "apply for a reader's card", "join the library"),
    ),
    "book a study room": (
        *("book a study room", "reserve a group room", "get a quiet room for our group"),
        *("reserve a room to study in", "book a room for Friday", "hire the small meeting room"),
    ),
    "pay a late fee": (
        *("pay my late fee", "settle the fine on my card", "pay what I owe for late books"),
        *("clear my overdue fine", "pay a fine online", "get rid of my overdue charge"),
    ),
    "print a document": (
        *("print a document", "use the printer", "print some pages from my laptop"),
        *("print in colour", "make a print of my form", "send a file to the printer"),
    ),
    "borrow an e-book": (
        *("borrow an e-book", "read e-books on my tablet", "download an e-book"),
        *("get an e-book from you", "put e-books on my reader", "borrow audio books online"),
    ),
    "use the wireless network": (
        *("connect to your wi-fi", "get online in the reading room", "log in to the wi-fi"),
        *("use the wireless network", "find the wi-fi password", "join the guest wi-fi"),
    ),
    "give away books": (
        *("donate my old books", "give you books I no longer need", "hand in books as a gift"),
        *("donate two boxes of novels", "leave my books to the library", "offer you used books"),
    ),
    "suggest a purchase": (
        *("suggest a book for you to buy", "propose a new title", "ask you to buy a book"),
        *("recommend a title you lack", "request a book you do not own", "put in a book request"),
    ),
}
_FRAMES = (
    *("How do I {}?", "How can I {}?", "How would I {}?", "How could one {}?", "How does one {}?"),
    *("What do I do to {}?", "What must I do to {}?", "What should I do to {}?"),
    *("What is the way to {}?", "What are the steps to {}?", "What does it take to {}?"),
    *("Tell me how to {}", "Show me how to {}", "Explain to me how to {}", "I need to {}"),
    *("I want to {}, how?", "I would like to {}", "I am trying to {}", "I have to {} soon"),
    *("Is there a way to {}?", "Is it possible to {}?", "Where do I {}?", "Where can I {}?"),
    *("Can you help me {}?", "Could you tell me how to {}?", "Do you know how I {}?"),
)
_OPENINGS = ("", "Hello, ", "Hi there! ")


def stream() -> list[Question]:
    """Some 4,200 questions, one meaning an intent."""
    return [
        Question(opening + frame.format(deed), intent, intent, intent)
        for intent, deeds in _INTENTS.items()
        for deed in deeds
        for frame in _FRAMES
        for opening in _OPENINGS
    ]
