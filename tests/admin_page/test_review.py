"""Review, requests and entries in a real browser: labelled by keyboard, evicted, shown as text."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from tests.admin_page.pages import AdminPage, Visit, browser_tests
from tests.api.admin import ADMIN, PARIS, SIMILAR
from tests.house import House, came_from

logger = logging.getLogger(__name__)
pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

# What would run, or end a tag, if any field were more than text.
HOSTILE = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror='window.hacked=1'>",
    '"><svg onload=window.hacked=1>',
    "{{constructor.constructor('window.hacked=1')()}}",
    "javascript:window.hacked=1",
    "</textarea><script>window.hacked=1</script>",
)
LABELLED = 49  # of the first page of 50, so that no answer has to come
A_LABEL_MS = 3_000
# Press y until all are labelled; return the ms from each key to the frame with the next question.
LABELLING = f"""(async () => {{
    const shown = () => document.querySelector("[aria-labelledby=asked]").textContent;
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const times = [];
    while (times.length < {LABELLED}) {{
        const [before, began] = [shown(), performance.now()];
        document.body.dispatchEvent(new KeyboardEvent("keydown", {{ key: "y", bubbles: true }}));
        while (shown() === before) await frame();
        await frame();
        times.push(performance.now() - began);
    }}
    return JSON.stringify(times);
}})()"""
CITIES = (
    *("France", "Norway", "Spain", "Italy", "Peru", "Chile", "Japan", "Kenya", "Ghana", "Cuba"),
    *("Nepal", "Egypt"),
)


async def labels(house: House) -> dict[str, int]:
    """The verdicts that people gave, by how many."""
    got = await house.http.get(
        "/admin/v1/labels/export", params={"tenant": "default"}, headers=ADMIN
    )
    found: dict[str, int] = {}
    for line in got.text.splitlines():
        for name, word in (('"label":1', "yes"), ('"label":0', "no")):
            found[word] = found.get(word, 0) + (name in line.replace(" ", ""))
    return found


async def pairs(house: House) -> list[dict[str, Any]]:
    params = {"tenant": "default", "limit": "200"}
    got = await house.http.get("/admin/v1/labels/queue", params=params, headers=ADMIN)
    items: list[dict[str, Any]] = got.json()["items"]
    return items


def question(page: AdminPage) -> Locator:
    return page.main.get_by_role("region", name="New question")


async def test_ten_pairs_are_labelled_by_keyboard_and_one_is_taken_back(
    admin: AdminPage, house: House
) -> None:
    for city in CITIES:
        await house.ask(f"What is the capital of {city}?")
        hit = await house.ask(f"What's the capital of {city}?")
        assert came_from(hit)[0] == "semantic"
    await house.parts.decision_log.flush()
    assert len(await pairs(house)) >= len(CITIES)
    await admin.open("review", tenant="default")
    seen = []
    for key in "yyyynyyysy":
        text = await question(admin).inner_text()
        assert text not in seen
        seen.append(text)
        await admin.page.keyboard.press(key)
        await expect(question(admin)).not_to_have_text(text)
    visit = admin.main.get_by_role("region", name="This visit")
    await expect(visit).to_contain_text("9 labelled")
    await expect(visit).to_contain_text("8 yes, 1 no, 1 skipped")
    await admin.page.keyboard.press("u")
    await expect(question(admin)).to_have_text(seen[-1])
    await expect(visit).to_contain_text("7 yes, 1 no, 1 skipped")
    async with asyncio.timeout(10):  # labels go out behind the keys
        while await labels(house) != {"yes": 7, "no": 1}:
            await house.http.get("/healthz")
    left = {one["query_b"] for one in await pairs(house)}
    assert seen[-1] in left
    assert not left & set(seen[:-1])


async def test_fifty_pairs_are_labelled_without_waiting_for_the_server(
    admin: AdminPage, house: House
) -> None:
    """200 labels in ten minutes leave three seconds each, nearly all of them the person's."""
    words = ("shops", "ships", "farms", "mills", "roads", "lakes", "woods", "caves")
    for word in words:
        for city in ("Rome", "Oslo", "Lima", "Cairo", "Quito", "Paris", "Delhi"):
            await house.ask(f"Where are the {word} of {city}?")
            await house.ask(f"Where are the {word} in {city}?")
    await house.parts.decision_log.flush()
    assert len(await pairs(house)) > LABELLED
    await admin.open("review", tenant="default")
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await admin.page.route("**/admin/v1/**", hold)  # no answer comes until the last is labelled
    times = sorted(json.loads(await admin.evaluate(LABELLING)))
    held.set()
    assert len(times) == LABELLED
    logger.info("key to next pair: p50 %.1f ms", times[LABELLED // 2])
    logger.info("key to next pair: p95 %.1f ms", times[LABELLED * 95 // 100])
    assert times[LABELLED * 95 // 100] < A_LABEL_MS / 10
    async with asyncio.timeout(30):  # and none is lost
        while await labels(house) != {"yes": LABELLED, "no": 0}:
            await house.http.get("/healthz")


async def test_a_key_that_reads_only_labels_nothing(visit: Visit, house: House) -> None:
    await house.ask(PARIS)
    await house.ask(SIMILAR)
    body = {"name": "reader", "role": "read"}
    made = await house.http.post("/admin/v1/admin-keys", json=body, headers=ADMIN)
    async with visit(key=made.json()["key"]) as page:
        await page.open("review", tenant="default")
        await expect(page.main.get_by_role("button", name="Yes")).to_be_disabled()
        await page.page.keyboard.press("y")
        await expect(question(page)).to_have_text(SIMILAR)
    assert await labels(house) == {"yes": 0, "no": 0}


async def test_characters_that_hide_or_turn_text_are_marks(admin: AdminPage, house: House) -> None:
    await house.ask("Is it \u202efdp.exe or\u200b not?")
    await admin.open("entries")
    answer = admin.main.locator("td[data-label=Answer]")
    await expect(answer).to_contain_text("Is it \u2039RLO\u203afdp.exe or\u2039ZWSP\u203a not?")
    await admin.main.get_by_role("button", name="Matched exactly only").click()
    shown = admin.page.get_by_role("dialog").get_by_role("region", name="Answer, part 1")
    await expect(shown).to_contain_text("Is it \u2039RLO\u203afdp.exe or\u2039ZWSP\u203a not?")
    await expect(shown.get_by_title("U+202E")).to_have_text("\u2039RLO\u203a")
    spelled = (
        "👨\u200d👩 می\u200cخ a\u200db h\U000e0041\U000e0042i"  # joiners that spell, and others
    )
    script = f"""(async () => {{
        const src = document.querySelector('script[type=module]').src;
        const {{ marked }} = await import(new URL('lib/visible.js', src).href);
        return marked({json.dumps(spelled)});
    }})()"""
    assert (
        await admin.evaluate(script) == "👨\u200d👩 می\u200cخ a\u2039ZWJ\u203ab h\u2039TAG\u203ai"
    )


async def test_near_misses_are_asked_without_an_outcome(admin: AdminPage) -> None:
    await admin.open("requests", outcome="semantic")
    await admin.main.get_by_role("tab", name="Near misses by cost").click()
    await expect(admin.main.get_by_label("Misses with a similar question")).to_be_visible()
    await admin.drawn()
    assert not [url for url in admin.asked if "near-misses?" in url and "outcome" in url]


async def test_an_evicted_entry_is_a_miss_for_the_next_question(
    admin: AdminPage, house: House
) -> None:
    await house.ask(PARIS)
    assert came_from(await house.ask(PARIS))[0] == "exact"
    await admin.open("entries")
    await admin.main.get_by_role("button", name=PARIS).click()
    dialog = admin.page.get_by_role("dialog", name="Stored answer")
    await dialog.get_by_role("tab", name="Evict").click()
    await dialog.get_by_role("button", name="Evict", exact=True).click()
    await expect(dialog).to_have_count(0)
    await expect(admin.main).to_contain_text("Nothing is stored yet")
    assert came_from(await house.ask(SIMILAR))[0] == "miss"


async def test_a_curated_answer_is_served_and_a_wrong_lifetime_stands_beside_its_field(
    admin: AdminPage, house: House
) -> None:
    await house.ask(PARIS)
    await admin.open("entries")
    await admin.main.get_by_role("button", name=PARIS).click()
    dialog = admin.page.get_by_role("dialog", name="Stored answer")
    await dialog.get_by_role("tab", name="Lifetime").click()
    await dialog.get_by_label("Expires in").select_option("other")
    await dialog.get_by_label("Seconds from now").fill("99999999")
    await dialog.get_by_role("button", name="Set the lifetime").click()
    await expect(dialog.locator(".field-error")).to_be_visible()
    await expect(dialog.get_by_label("Seconds from now")).to_have_value("99999999")
    admin.expect("400")
    await dialog.get_by_role("tab", name="Replace the answer").click()
    await dialog.get_by_label("Answer", exact=True).fill("It is Paris, on the Seine.")
    await dialog.get_by_role("button", name="Replace the answer", exact=True).click()
    await expect(dialog.get_by_text("curated", exact=True).first).to_be_visible()
    served = await house.ask(PARIS)
    assert came_from(served)[0] == "exact"
    assert served.json()["content"][0]["text"] == "It is Paris, on the Seine."


async def test_a_purge_shows_what_it_takes_and_everything_needs_the_phrase(
    admin: AdminPage, house: House
) -> None:
    for text in (PARIS, "Who wrote Faust?"):
        await house.ask(text)
    await admin.open("entries", text="capital")
    await admin.main.get_by_role("button", name="Purge what is listed").click()
    dialog = admin.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Purge 1 stored answer?")
    await expect(dialog).to_contain_text(PARIS)
    await dialog.get_by_role("button", name="Purge", exact=True).click()
    await expect(dialog).to_have_count(0)
    assert came_from(await house.ask(PARIS))[0] == "miss"
    await admin.open("entries")
    await admin.main.get_by_role("button", name="Purge everything").click()
    await dialog.get_by_role("button", name="Purge", exact=True).click()
    await expect(dialog.locator(".field-error")).to_be_visible()
    await dialog.get_by_role("textbox").fill("purge everything")
    await dialog.get_by_role("button", name="Purge", exact=True).click()
    await expect(admin.main).to_contain_text("Nothing is stored yet")


async def test_a_request_shows_the_path_that_it_took(admin: AdminPage, house: House) -> None:
    for text in (
        PARIS,
        PARIS,
        SIMILAR,
        "How many eggs are in 3 boxes?",
        "How many eggs are in 7 boxes?",
    ):
        await house.ask(text)
    await house.parts.decision_log.flush()
    await admin.open("requests")
    for text, word in (
        (SIMILAR, "answered"),
        ("How many eggs are in 7 boxes?", "refuses the nearest: another number"),
    ):
        await admin.main.get_by_role("button", name=text).first.click()
        dialog = admin.page.get_by_role("dialog", name="Request")
        await expect(dialog.locator(".path-step")).to_have_count(8)
        await expect(dialog).to_contain_text(word)
        await admin.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
    await admin.main.get_by_label("Outcome").select_option("exact")
    await expect(admin.main.locator("tbody tr")).to_have_count(1)
    await admin.main.get_by_label("Question contains").fill("no such words")
    await expect(admin.main).to_contain_text("No request of the last day matches")


async def test_whatever_is_stored_is_shown_as_text(admin: AdminPage, house: House) -> None:
    for bad in HOSTILE:
        await house.ask(f"Is {bad} the capital?", system=f"You are {bad}")
        await house.ask(f"is {bad} the capital", system=f"You are {bad}")
    await house.parts.decision_log.flush()
    entries = (await house.http.get("/admin/v1/entries", headers=ADMIN)).json()["items"]
    for entry, bad in zip(entries, HOSTILE, strict=False):
        path = f"/admin/v1/entries/default/{entry['id']}/answer"
        await house.http.put(path, json={"text": f"Yes: {bad}"}, headers=ADMIN)
    for screen in ("entries", "requests", "review"):
        await admin.open(screen, tenant="default")
        await expect(admin.main).to_contain_text("<")
    await admin.open("entries")
    for row in range(len(entries)):
        await admin.main.locator(".row-open").nth(row).click()
        dialog = admin.page.get_by_role("dialog")
        await expect(dialog.get_by_role("region", name="Question")).to_be_visible()
        await dialog.get_by_role("tab", name="Replace the answer").click()
        await expect(dialog.get_by_role("textbox")).to_be_visible()
        await admin.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
    await admin.open("requests")
    for row in range(2 * len(HOSTILE)):
        await admin.main.locator(".row-open").nth(row).click()
        dialog = admin.page.get_by_role("dialog")
        await expect(dialog.locator(".path-step")).to_have_count(8)
        await admin.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
    assert await admin.evaluate("window.hacked") is None
    assert (
        await admin.evaluate("document.querySelectorAll('main script, main img, main svg').length")
        == 0
    )


async def test_a_tenants_key_sees_its_own_and_changes_nothing(visit: Visit, house: House) -> None:
    shop, other = await house.key("shop"), await house.key("other")
    await house.ask(PARIS, key=shop)
    await house.ask("Who wrote Faust?", key=other)
    await house.parts.decision_log.flush()
    async with visit(key=shop) as page:
        await page.open("requests")
        await expect(page.main).to_contain_text(PARIS)
        await expect(page.main).not_to_contain_text("Faust")
        await page.open("entries")
        await expect(page.main.locator("tbody tr")).to_have_count(1)
        await page.main.locator(".row-open").click()
        dialog = page.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Texts are hidden")
        await expect(dialog.get_by_role("tab")).to_have_count(0)


@pytest.mark.parametrize(
    ("one", "other", "marked"),
    [
        ("Can I cancel?", "Can I still cancel?", ("", "still ")),
        ("Boil 3 eggs", "Boil 12 eggs", ("3", "12")),
        ("the same", "the same", ("", "")),
        ("", "all new", ("", "all new")),
        ("CO is bad", "Co is bad", ("CO", "Co")),
        ("a b c", "x y c", ("a b", "x y")),
        ("Æsir og æ 😀!", "Æsir og ø 😀!", ("æ", "ø")),
    ],
)
async def test_differences_are_marked_by_words(
    admin: AdminPage, one: str, other: str, marked: tuple[str, str]
) -> None:
    script = f"""(async () => {{
        const src = document.querySelector('script[type=module]').src;
        const {{ differences }} = await import(new URL('lib/diff.js', src).href);
        return JSON.stringify(differences({one!r}, {other!r}));
    }})()"""
    left, right = json.loads(await admin.evaluate(script))
    assert ("".join(text for text, _ in left), "".join(text for text, _ in right)) == (one, other)
    changed = [[text for text, new in side if new] for side in (left, right)]
    assert (" ".join(changed[0]), " ".join(changed[1])) == marked
