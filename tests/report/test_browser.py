"""The page in a browser: it draws, sorts, filters, shows and hides, on a phone, in the dark, on paper, and is quick."""

import itertools
import json
from dataclasses import replace

import pytest
from small_runs import ALARMS, HOSTILE, diagnosis, named, two_runs

from relujax.report import Run
from relujax.report._html import page

pytestmark = pytest.mark.own_precision

#: The figures of two trained runs of two stages, and the one of a layer without a histogram of outputs.
FIGURES = 2 + 2 + 4 + 3 + 2 + 1
PICTURE = "document.querySelector('[data-figure=picture-0]')"
INK, GROUND = (
    "getComputedStyle(document.querySelector('.xtick text')).fill",
    "getComputedStyle(document.body).backgroundColor",
)
BUTTON = "document.querySelector('[data-toggle=\"0\"]')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def plain(folder):
    path = folder / "plain.html"
    path.write_text(page(two_runs(diagnosis())), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hostile(folder):
    path = folder / "hostile.html"
    runs = two_runs(named(HOSTILE), (HOSTILE, f"2{HOSTILE}"), (HOSTILE, f"3{HOSTILE}"), {HOSTILE: HOSTILE})
    path.write_text(page(runs), encoding="utf-8")
    return path


def count(tab, selector):
    return tab.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def column(tab, number):
    return tab.run(
        f"[...document.querySelectorAll('table.layers')[0].tBodies[0].rows].map(r => r.cells[{number}].innerText)"
    )


def test_everything_is_drawn_with_no_request_and_no_complaint(tab, hostile):
    tab.open(hostile)
    assert tab.console == []
    assert [url for url in tab.requests if not url.startswith(("data:", hostile.as_uri()))] == []
    assert tab.run("document.documentElement.dataset.drawn") == str(FIGURES)
    assert count(tab, ".plot .main-svg") >= FIGURES
    assert count(tab, "[onerror], [src='x'], main script, main img") == 0
    assert HOSTILE in tab.run("document.querySelector('#layer-numbers tbody').innerText")
    assert HOSTILE in tab.run("document.getElementById('pick').innerText")
    tab.run(f"Plotly.Fx.hover({PICTURE}, [{{curveNumber: 0, pointNumber: 0}}], 'xy')")
    shown = tab.run(f"{PICTURE}.querySelector('.hoverlayer').textContent")
    assert "</script><img src=x onerror=alert(1)>" in shown
    assert count(tab, ".plot img") == 0


def test_a_script_that_is_not_the_one_in_the_policy_is_refused(tab, hostile, folder):
    """And so the test above would see it."""
    path = folder / "tampered.html"
    text = hostile.read_text(encoding="utf-8")
    path.write_text(text.replace('"use strict";\n', '"use strict"; \n', 1), encoding="utf-8")
    tab.open(path, drawn=False)
    assert tab.run("document.documentElement.dataset.drawn") is None
    assert any("Content Security Policy" in line for line in tab.console)


def test_a_head_sorts_in_both_directions_by_the_keyboard(tab, plain):
    tab.open(plain)
    assert column(tab, 1) == ["first/relu", "second/relu"]
    tab.run("document.querySelectorAll('table.layers th button')[1].focus()")
    for direction, names in (
        ("ascending", ["first/relu", "second/relu"]),
        ("descending", ["second/relu", "first/relu"]),
    ):
        tab.press("Enter")
        assert column(tab, 1) == names
        assert tab.run("document.querySelectorAll('table.layers th')[1].ariaSort") == direction
    first = "document.querySelectorAll('table.layers')[0]"
    unsorted, heads = (
        tab.run(f"{first}.querySelectorAll('{what}').length") for what in ("[aria-sort=none]", "thead th")
    )
    assert unsorted == heads - 1


def test_numbers_sort_as_numbers_and_what_is_missing_is_last(tab, folder):
    found = diagnosis()
    gradients = (0.5, 1e10, None, 2.0)
    rows = tuple(replace(found.summary[0], name=f"layer/{n}", signal_norm=g) for n, g in enumerate(gradients))
    path = folder / "four.html"
    path.write_text(page([Run("run", {"as given": replace(found, summary=replace(found.summary, rows=rows))})]))
    tab.open(path)
    for order in (["0.5", "2", "1e+10", "–"], ["1e+10", "2", "0.5", "–"]):
        tab.run("document.querySelectorAll('table.layers th button')[9].click()")
        assert column(tab, 9) == order


def test_the_field_filters_every_table(tab, plain):
    tab.open(plain)
    tab.run("document.getElementById('filter').value = 'SECOND relu'")
    tab.run("document.getElementById('filter').dispatchEvent(new Event('input'))")
    assert tab.run("document.getElementById('filtered').textContent") == "4 of 8 rows"
    assert (
        tab.run("[...document.querySelectorAll('table.layers tbody tr')].map(row => row.hidden)") == [True, False] * 4
    )


def test_a_page_that_loads_itself_again_keeps_what_was_chosen_and_another_does_not(tab, plain, folder):
    path = folder / "watched.html"
    path.write_text(page(two_runs(diagnosis()), refresh=600), encoding="utf-8")
    details = "document.querySelector('section details')"
    state = (
        "[document.getElementById('filter').value, document.getElementById('filtered').textContent, "
        f"document.getElementById('pick').value, {BUTTON}.ariaPressed, {details}.open, "
        "document.querySelectorAll('table.layers th')[1].ariaSort]"
    )
    for opened, kept in ((path, True), (plain, False)):
        tab.open(opened)
        before = tab.run(state)
        tab.run("for (const _ of [1, 2]) document.querySelectorAll('table.layers th button')[1].click()")
        tab.run("document.getElementById('filter').value = 'second'")
        tab.run("document.getElementById('filter').dispatchEvent(new Event('input'))")
        tab.run("document.getElementById('pick').value = '1'")
        tab.run(f"{BUTTON}.click()")
        tab.run(f"{details}.open = !{details}.open")
        chosen = tab.run(state)
        assert chosen == ["second", "4 of 8 rows", "1", "false", not before[4], "descending"]
        tab.open(opened)
        assert tab.run(state) == (chosen if kept else before)
        if kept:
            assert column(tab, 1) == ["second/relu", "first/relu"]
            assert tab.run(f"[...new Set({PICTURE}.data.filter(t => t.visible).map(t => t.meta.run))]") == [1]


def test_the_page_of_a_run_that_has_ended_shows_what_was_chosen_while_it_was_watched_once(tab, folder):
    path = folder / "ended.html"
    runs = two_runs(diagnosis())
    path.write_text(page(runs, refresh=600), encoding="utf-8")
    tab.open(path)
    tab.run(f"{BUTTON}.click()")
    path.write_text(page(runs), encoding="utf-8")
    for pressed in ("false", "true"):  # and then it is a page as any other
        tab.open(path)
        assert tab.run(f"{BUTTON}.ariaPressed") == pressed


def test_what_is_open_and_sorted_is_kept_by_part_though_parts_are_added(tab, folder):
    """Of runs whose names differ by a digit, and of findings that have more places than are shown."""

    def written(stages, rules, places):
        said = [[replace(alarm, site=f"layer {n}") for n in range(places)] for alarm in rules]
        runs = two_runs(diagnosis(alarms=tuple(itertools.chain(*said))), ("relu", "relu6"), stages)
        path.write_text(page(runs, refresh=600), encoding="utf-8")

    path = folder / "growing.html"
    critical, warning, info = ALARMS
    other = replace(critical, rule="another rule")
    words = "[d.closest('article')?.querySelector('h3'), d.querySelector('summary')]"
    part = f"d => {words}.map(e => e?.textContent).join('|')"
    state = f"Object.fromEntries([...document.querySelectorAll('details')].map(d => [({part})(d), d.open]))"
    order = (
        "Object.fromEntries([...document.querySelectorAll('#numbers details')].map("
        "d => [d.querySelector('summary').textContent, d.querySelectorAll('th')[1].ariaSort]))"
    )
    written(["as given"], [critical, warning, info], 3)
    tab.open(path)
    chosen = {"|relu, as given": False, "|relu6, as given": True, "|1 remark: rule info": True}
    chosen |= {"critical rule critical|and 1 more": False, "warning rule warning|and 1 more": True}
    chosen |= {"info rule info|and 1 more": False}
    wanted = json.dumps(chosen)
    tab.run(f"for (const d of document.querySelectorAll('details')) d.open = {wanted}[({part})(d)] ?? d.open")
    tab.run("document.querySelector('#numbers details[data-run=\"1\"] th:nth-child(2) button').click()")
    assert chosen.items() <= tab.run(state).items()
    written(["as given", "trained"], [other, critical, warning, info], 4)
    tab.open(path)
    found = tab.run(state)
    assert {key.replace("2 more", "1 more"): now for key, now in found.items()}.items() >= chosen.items()
    assert [key for key, now in found.items() if "another rule" in key or "trained" in key] == [
        "critical another rule|and 2 more",
        "|relu, trained",
        "|relu6, trained",
    ]
    assert not any(now for key, now in found.items() if "another rule" in key or "trained" in key)
    assert tab.run(order) == {
        "relu, as given": "none",
        "relu, trained": "none",
        "relu6, as given": "ascending",
        "relu6, trained": "none",
    }


def test_a_browser_whose_store_is_full_is_no_error(tab, folder):
    path = folder / "full.html"
    path.write_text(page(two_runs(diagnosis()), refresh=600), encoding="utf-8")
    tab.open(path)
    tab.run("Storage.prototype.setItem = () => { throw new DOMException('no room', 'QuotaExceededError'); }")
    tab.run("void window.dispatchEvent(new Event('pagehide'))")
    assert tab.console == []
    tab.run("Storage.prototype.setItem = () => { throw new TypeError('another error'); }")
    tab.run("void window.dispatchEvent(new Event('pagehide'))")
    assert any("another error" in line for line in tab.console)


def test_a_run_is_hidden_and_shown_by_its_button(tab, plain):
    tab.open(plain)
    shown = f"[...new Set({PICTURE}.data.filter(t => t.visible).map(t => t.meta.run))]"
    assert tab.run(shown) == [0, 1]
    tab.run(f"{BUTTON}.focus()")
    for pressed, runs in (("false", [1]), ("true", [0, 1])):
        tab.press("Enter")
        tab.wait(f"JSON.stringify({shown}) === '{json.dumps(runs).replace(' ', '')}'")
        assert tab.run(shown) == runs
        assert tab.run(f"{BUTTON}.ariaPressed") == pressed
        assert count(tab, "details[data-run='0']:not([hidden])") == (2 if pressed == "true" else 0)


def test_bands_of_singular_values_are_drawn_for_two_runs_at_most_and_stages_zoom_together(tab, folder):
    found = diagnosis()
    values = tuple(2.0**-n for n in range(9))
    rows = tuple(replace(row, singular_values=values) for row in found.summary)
    wide = replace(found, summary=replace(found.summary, rows=rows))
    path = folder / "three.html"
    path.write_text(page(two_runs(wide, ("one", "two", "three"))), encoding="utf-8")
    tab.open(path)
    fans = f"{PICTURE}.data.filter(t => t.meta.role === 'fan' && t.visible).length"
    assert tab.run(fans) == 0
    tab.run(f"{BUTTON}.click()")
    tab.wait(f"{fans} > 0")
    assert tab.run(fans) == 2 * 4  # of two runs, the edges of two bands
    tab.run(f"Plotly.relayout({PICTURE}, {{'xaxis.range[0]': 1.25, 'xaxis.range[1]': 1.75}}).then(() => null)")
    other = "document.querySelector('[data-figure=picture-1]').layout.xaxis.range"
    tab.wait(f"{other}[0] === 1.25")
    assert tab.run(other) == [1.25, 1.75]


def test_a_layer_is_picked_from_the_table(tab, plain):
    tab.open(plain)
    for number, name, other in ((0, "first/relu", "second/relu"), (1, "second/relu", "first/relu")):
        tab.run(f"document.querySelectorAll('button.pick')[{number}].click()")
        tab.wait(f"document.getElementById('layer-numbers').innerText.includes('{name}')")
        assert other not in tab.run("document.getElementById('layer-numbers').innerText")
        assert tab.run("document.getElementById('pick').value") == str(number)


def test_the_first_key_leads_to_the_content_and_focus_is_seen(tab, plain):
    tab.open(plain)
    tab.press("Tab")
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    tab.press("Tab")
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_a_phone_shows_all_without_sideways_scrolling(tab, name, request):
    tab.open(request.getfixturevalue(name), width=390)
    assert tab.run("document.documentElement.scrollWidth") == 390
    assert tab.run("Math.max(...[...document.querySelectorAll('.plot .main-svg')].map(s => s.clientWidth))") <= 390


def test_dark_and_light_have_ink_that_is_seen_in_figures_too(tab, plain):
    tab.open(plain)
    assert tab.run(f"[{INK}, {GROUND}]") == ["rgb(27, 31, 36)", "rgb(255, 255, 255)"]
    tab.open(plain, dark=True)
    assert tab.run(f"[{INK}, {GROUND}]") == ["rgb(230, 237, 243)", "rgb(13, 17, 23)"]


def test_on_paper_all_is_open_and_black_on_white_and_afterwards_as_before(tab, plain):
    tab.open(plain, dark=True)
    look = f"[document.querySelectorAll('details:not([open])').length, {INK}]"
    closed, light = tab.run(look)
    assert closed > 0
    height = "document.querySelector('#picture .main-svg').clientHeight"
    tall = tab.run(height)
    tab.run("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.run(look) == [0, "rgb(27, 31, 36)"]
    assert tab.run(height) <= 600 < tall  # with its title it fits on a page
    assert tab.run("Math.max(...[...document.querySelectorAll('.plot .main-svg')].map(s => s.clientWidth))") <= 700
    tab.run("window.dispatchEvent(new Event('afterprint'))")
    tab.wait(f"{look}[1] === '{light}'")
    assert [*tab.run(look), tab.run(height)] == [closed, light, tall]
    assert tab.pdf().startswith(b"%PDF")


def test_how_a_run_was_made_stands_below_its_name(tab, folder):
    path = folder / "facts.html"
    one, two = two_runs(diagnosis())
    path.write_text(page([one, replace(two, facts={"depth": 40, "steps": 600})]), encoding="utf-8")
    tab.open(path)
    facts = "document.querySelector('#compared tbody tr:last-child th small')"
    assert tab.run(f"{facts}.innerText") == "depth 40, steps 600"
    assert tab.run(f"getComputedStyle({facts}).display") == "block"


def test_what_only_a_screen_does_is_not_told_on_paper(tab, plain):
    tab.open(plain)
    shown = "getComputedStyle(document.querySelector('#numbers > p')).display"
    assert tab.run(shown) == "block"
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.run(shown) == "none"


def test_on_a_phone_the_buttons_of_a_figure_do_not_cover_its_words(tab, plain):
    tab.open(plain, width=390)
    box = "document.querySelector('#picture {}').getBoundingClientRect()"
    assert tab.run(f"{box.format('.modebar')}.bottom <= {box.format('.annotation')}.top")


def test_two_runs_of_two_hundred_layers_are_at_most_six_megabytes_and_quick(tab, folder):
    found = diagnosis()
    row = found.summary[1]
    values = tuple(2.0**-n for n in range(32))
    rows = tuple(
        replace(
            row,
            name=f"blocks/{n}/mlp/relu",
            signal_norm=1.01**n,
            singular_values=values,
            source=f"/home/someone/model.py:{n}",
        )
        for n in range(200)
    )
    deep = replace(found, summary=replace(found.summary, rows=rows))
    path = folder / "deep.html"
    path.write_text(page(two_runs(deep)), encoding="utf-8")
    assert path.stat().st_size <= 6_000_000
    tab.open(path)
    # Measured: 2 s from the start of loading on two cores; a quarter of it is the charting library.
    assert int(tab.run("document.documentElement.dataset.milliseconds")) < 15_000
    start = tab.run("performance.now()")
    tab.run(f"{BUTTON}.click()")
    tab.wait(f"{PICTURE}.data.every(trace => trace.visible === (trace.meta.run === 1))")
    assert tab.run("performance.now()") - start < 3_000
