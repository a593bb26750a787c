"""The report in a real browser: clicks, keys, colours, and what a screen reader is told."""

import re
import time

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import browser, opened
from tests.reports import BORN, EVIL, chain, changing, plain, train

__all__ = ["browser"]

READY = "body[data-ready]"
SPILLED = """() => [...document.querySelectorAll("#stage .card")].flatMap((card) => {
  const box = card.querySelector(".outline").getBoundingClientRect();
  const places = [...card.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  const spills = ([words, at]) => words && at.width && (at.left < box.left - 1 || at.right > box.right + 1);
  return places.filter(spills).map(([words]) => words);
})"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def file(run):
    return run.save(run.path.parent / "report.html")


@pytest.fixture
def page(browser, file):
    with opened(browser, file) as found:
        found.wait_for_selector(READY)
        yield found


def step(page):
    """Return the number of the step that is shown."""
    return int(re.search(r"step (-?\d+)", page.locator("output.step").inner_text())[1])


def card(page, name):
    """Return the card of a node."""
    return page.locator("#stage .card").filter(
        has=page.locator("text.name", has_text=re.compile(rf"^▸? ?{re.escape(name)}"))
    )


def told(page, name):
    """Return what a screen reader is told of a card."""
    return card(page, name).first.get_attribute("aria-label")


def open_all(page):
    """Open every scope."""
    page.get_by_role("button", name="Open all scopes").click()


# -- steps


def test_it_starts_at_the_last_step(page):
    assert step(page) == 29
    assert page.locator("#app").is_visible()
    assert not page.locator("#still").is_visible()


def test_keys_move_through_the_steps(page):
    for key, wanted in (
        ("Home", 0),
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("Shift+ArrowRight", 11),
        ("End", 29),
    ):
        page.keyboard.press(key)
        assert step(page) == wanted, key
    page.keyboard.press("ArrowRight")
    assert step(page) == 29


def test_buttons_and_slider_move_through_the_steps(page):
    page.locator("#back").click()
    assert step(page) == 28
    page.locator("#forward").click()
    assert step(page) == 29
    page.locator("#slider").fill("7")
    assert step(page) == 7
    page.locator("#slider").press("ArrowRight")
    assert step(page) == 8


def test_the_numbers_on_the_cards_are_those_of_the_step(page, run):
    open_all(page)
    for wanted in (0, 5, 12):
        page.locator("#slider").fill(str(wanted))
        frame = run.frame(wanted)
        assert told(page, "b") == f"b, value {frame.value('b'):.4g}, grad {frame.grad('b'):.4g}"


def test_it_plays_and_pauses(page):
    page.keyboard.press("Home")
    page.locator("#speed").select_option("50")
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    page.wait_for_function("() => document.querySelector('output.step').textContent.includes('step 3')")
    page.keyboard.press("Escape")
    page.locator("body").press("End")
    page.keyboard.press(" ")
    page.keyboard.press(" ")
    assert page.locator("#play").get_attribute("aria-label") == "Play"


def test_a_click_on_a_curve_moves_there(page):
    area = page.locator(".chart .area").first
    box = area.bounding_box()
    page.mouse.move(box["x"] + 52 + (box["width"] - 64) / 2, box["y"] + 30)
    page.mouse.down()
    assert step(page) in {14, 15}
    page.mouse.move(box["x"] + 53, box["y"] + 30)
    page.mouse.up()
    assert step(page) == 0
    assert page.locator(".chart .cursor").count() == 3


def test_the_step_is_said(page):
    page.keyboard.press("Home")
    page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Step 0, loss')")


def test_the_scale_and_the_curves_can_be_chosen(page):
    chart = page.locator(".chart").nth(2)
    log = chart.get_by_role("button", name="Logarithmic")
    if log.is_visible():
        before = log.get_attribute("aria-pressed")
        log.click()
        assert log.get_attribute("aria-pressed") != before
    curves = chart.locator(".curve").count()
    chart.locator(".chip").first.click()
    assert chart.locator(".curve").count() == curves - 1


# -- findings and nodes


def test_a_finding_leads_to_its_step_and_node(page):
    page.keyboard.press("Home")
    page.get_by_role("button", name="nan NaN is born").first.click()
    assert step(page) == BORN
    assert page.locator("#details").is_visible()
    assert page.locator(".card.picked.bad").count() == 1
    assert "NaN" in page.locator("#details .numbers").inner_text()


def test_a_card_shows_its_details(page, run):
    open_all(page)
    page.locator("#slider").fill("4")
    card(page, "out").first.click()
    details = page.locator("#details")
    text = details.inner_text()
    frame = run.frame(4)
    assert details.locator("h2").inner_text() == "out"
    assert f"{frame.value('out'):.7g}"[:8] in text
    assert f"∂out/∂sum_1 = {EVIL}" in text
    assert "reports.py:" in text
    assert details.locator("mark").count() == 1
    assert "def objective" not in text  # only lines that the trace holds
    details.get_by_role("button", name="Close").click()
    assert not details.is_visible()


def test_an_array_is_shown_as_a_picture_and_a_histogram(page):
    open_all(page)
    card(page, "table").first.click()
    assert page.locator("#details .heatmap rect").count() == 2 * 160
    assert page.locator("#details .histogram").count() == 2
    assert page.locator("#details .chart").count() == 2


def test_inputs_and_users_are_links(page):
    open_all(page)
    card(page, "out").first.click()
    page.locator("#details .flows").get_by_role("button", name=EVIL).click()
    assert page.locator("#details h2").inner_text() == EVIL
    assert page.locator(".card.picked").count() == 1


def test_the_keyboard_reaches_the_cards(page):
    page.keyboard.press("n")
    first = page.evaluate("document.activeElement.dataset.card")
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.dataset.card") != first
    page.keyboard.press("p")
    assert page.evaluate("document.activeElement.dataset.card") == first
    page.keyboard.press("Enter")
    assert page.locator("#details").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#details").is_visible()


def test_nothing_is_left_out_of_reach_of_the_tab_key(page):
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className.toString()"))
    for wanted in ("open-search", "theme", "open-help", "play", "slider", "speed", "compare", "stage"):
        assert wanted in seen, wanted
    order = [seen.index(name) for name in ("open-search", "stage", "play", "slider", "compare")]
    assert order == sorted(order)


def test_search_finds_a_node_in_a_closed_scope(page):
    page.keyboard.press("/")
    page.keyboard.type("tanh")
    assert page.locator("#found [role=option]").count() == 1
    page.keyboard.press("Enter")
    assert not page.locator("#search").is_visible()
    assert "tanh" in page.locator("#details").inner_text()
    assert page.locator(".card.picked").count() == 1
    page.keyboard.press("/")
    page.keyboard.type("no such thing")
    assert "nothing of that name" in page.locator("#found").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#search").is_visible()


def test_help_lists_the_keys(page):
    page.keyboard.press("?")
    assert "play or pause" in page.locator("#help").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.locator("#open-help").click()
    page.locator("#help").get_by_role("button", name="Close").click()
    assert not page.locator("#help").is_visible()


# -- comparing, opening and closing, moving


def test_comparing_shows_what_has_changed(page, run):
    open_all(page)
    page.keyboard.press("Home")
    page.keyboard.press("c")
    page.locator("#slider").fill("10")
    changed = run.frame(10).value("b") - run.frame(0).value("b")
    assert f"change of value {changed:+.4g}"[:22] in told(page, "b")
    assert page.locator(".chart .reference").count() == 3
    page.locator("#reference").fill("10")
    page.locator("#reference").press("Enter")
    assert "change of value 0," in told(page, "b")
    page.locator("#compare").click()
    assert "change" not in told(page, "b")


def test_scopes_open_and_close(page):
    page.get_by_role("button", name=re.compile("Close all scopes|Back to graph")).first.click()
    closed = page.locator(".card.role-scope")
    before = page.locator("#stage .card").count()
    assert closed.count() == 2
    card(page, "net").locator("text.opener").click()
    assert page.locator(".scope-label").first.get_attribute("aria-label") == "Close net"
    assert page.locator("#stage .card").count() > before
    assert card(page, "mix").count() == 1
    page.get_by_role("button", name="Close net").first.click()
    assert page.locator("#stage .card").count() == before
    card(page, "net").dblclick()
    assert card(page, "mix").count() == 1
    open_all(page)
    assert closed.count() == 0


def test_repeats_are_folded_and_unfolded(page):
    open_all(page)
    before = page.locator("#stage .card").count()
    page.locator("#fold").click()
    after = page.locator("#stage .card").count()
    assert before != after
    if page.locator("#fold").inner_text() == "Fold repeats":
        page.locator("#fold").click()
    page.locator("#stage .card").filter(has=page.locator("text.note", has_text="×5")).first.click()
    rounds = page.locator("#details .rounds")
    assert "1 of 5" in rounds.inner_text()
    rounds.get_by_role("button", name="Next round").click()
    assert "2 of 5" in page.locator("#details .rounds").inner_text()


def test_the_picture_moves_and_zooms(page):
    world = page.locator(".picture > g")
    places = [world.get_attribute("transform")]
    box = page.locator("#stage").bounding_box()

    def moved():
        places.append(world.get_attribute("transform"))
        return places[-1] != places[-2]

    page.mouse.move(box["x"] + 20, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 100, steps=4)
    page.mouse.up()
    assert moved()
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "before => document.querySelector('.picture > g').getAttribute('transform') !== before", arg=places[-1]
    )
    assert moved()
    page.keyboard.press("-")
    assert moved()
    page.keyboard.press("+")
    assert moved()
    page.keyboard.press("0")
    assert world.get_attribute("transform") == places[0]
    page.get_by_role("button", name="Zoom in").click()
    assert moved()
    assert not page.locator("#details").is_visible()  # a drag is not a click


def test_two_fingers_zoom(page):
    world = page.locator(".picture > g")
    before = float(re.search(r"scale\(([\d.]+)", world.get_attribute("transform"))[1])
    page.evaluate(
        """() => {
          const stage = document.getElementById("stage");
          const box = stage.getBoundingClientRect();
          const send = (kind, id, x) => stage.dispatchEvent(new PointerEvent(kind, {
            pointerId: id, clientX: box.left + x, clientY: box.top + 80, bubbles: true,
          }));
          send("pointerdown", 1, 200); send("pointerdown", 2, 260);
          send("pointermove", 2, 320); send("pointerup", 1, 200); send("pointerup", 2, 320);
        }"""
    )
    after = float(re.search(r"scale\(([\d.]+)", world.get_attribute("transform"))[1])
    assert after == pytest.approx(2 * before, rel=1e-3)


# -- light, dark, small, printed, without scripts


def test_the_theme_follows_the_system_and_can_be_changed(browser, file):
    for system, other in (("light", "dark"), ("dark", "light")):
        with opened(browser, file, theme=system) as page:
            page.wait_for_selector(READY)
            paper = "getComputedStyle(document.body).backgroundColor"
            first = page.evaluate(paper)
            button = page.locator("#theme")
            while button.get_attribute("aria-label") != f"Theme: {other}":
                button.click()
            assert page.evaluate(paper) != first
            page.keyboard.press("d")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1400, 900), (390, 844)])
def test_nothing_serious_is_found_by_axe(browser, file, theme, size):
    with opened(browser, file, theme=theme, size=size, bypass_csp=True) as page:
        page.wait_for_selector(READY)
        audit(page, "at first")
        page.keyboard.press("Home")
        page.keyboard.press("c")
        page.keyboard.press("End")
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        audit(page, "details")
        page.keyboard.press("/")
        audit(page, "search")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        audit(page, "help")


def audit(page, where):
    """Let axe look at the page."""
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in {"serious", "critical"}]
    assert [(where, one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found] == []


@pytest.mark.parametrize("size", [(1400, 900), (1024, 768), (390, 844)])
def test_it_fits_the_screen(browser, file, size):
    with opened(browser, file, size=size) as page:
        page.wait_for_selector(READY)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for name in ("#stage", "#slider", "#play", "#open-help"):
            box = page.locator(name).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0] + 1, name
        if size[0] > 760:
            assert page.evaluate("document.documentElement.scrollHeight") <= size[1]


def test_every_text_stays_on_its_card(page):
    open_all(page)
    for wanted in (0, 13, 25):
        page.locator("#slider").fill(str(wanted))
        assert page.evaluate(SPILLED) == []


def test_without_scripts_it_can_still_be_read(browser, file):
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.locator("#still").is_visible()
        assert not page.locator("#app").is_visible()
        assert page.locator("#still figure svg").count() == 2
        assert "NaN is born in" in page.locator("#still").inner_text()
        assert page.locator("#still table tbody tr").count() == 4


def test_printed_it_is_the_still_part(page):
    page.emulate_media(media="print")
    assert page.locator("#still").is_visible()
    assert not page.locator("#app").is_visible()


def test_hostile_text_does_nothing(page):
    assert page.locator("img").count() == 0
    page.get_by_text("Events").click()
    assert EVIL in page.locator("#side").inner_text()


def test_the_address_keeps_step_and_node(browser, file):
    with opened(browser, file) as page:
        page.wait_for_selector(READY)
        page.locator("#slider").fill("9")
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        address = page.url
        assert "#step=9&node=" in address
        page.goto("about:blank")
        page.goto(address)
        page.wait_for_selector(READY)
        assert step(page) == 9
        assert page.locator("#details").is_visible()


# -- other runs


def test_a_run_of_many_structures(browser, tmp_path):
    with opened(browser, changing(tmp_path / "run").save(tmp_path / "report.html")) as page:
        page.wait_for_selector(READY)
        counts = set()
        for place in range(10):
            page.locator("#slider").fill(str(place))
            counts.add(page.locator("#stage .card").count())
        assert 0 in counts
        assert len(counts) > 3
        page.locator("#slider").fill("9")
        assert "too rare to be drawn" in page.locator("#note").inner_text()


def test_a_run_of_plain_losses(browser, tmp_path):
    with opened(browser, plain(tmp_path / "run").save(tmp_path / "report.html")) as page:
        page.wait_for_selector(READY)
        assert "Only what was recorded" in page.locator("#note").inner_text()
        assert page.locator("#stage .card").count() == 2
        assert page.locator(".chart").count() == 2


def test_a_large_graph_stays_fluid(browser, tmp_path, record_property):
    with opened(browser, chain(tmp_path / "run", 900, 40).save(tmp_path / "report.html")) as page:
        page.wait_for_selector(READY)
        assert "those nearest to the result" in page.locator("#views").inner_text()
        page.locator("#part").click()
        assert page.locator("#stage .card").count() > 700
        took = []
        for place in range(8):
            start = time.perf_counter()
            page.locator("#slider").fill(str(place))
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            took.append(1000 * (time.perf_counter() - start))
        print(f"a step of {page.locator('#stage .card').count()} cards: {sorted(took)[4]:.0f} ms")
        page.keyboard.press("/")
        page.keyboard.type("sin_1")
        page.keyboard.press("Enter")
        assert page.locator("#details h2").inner_text() == "sin_1"
        assert page.locator(".card.picked").count() == 1
