"""The page of the findings in a browser: on a wide screen, on a phone, and on paper."""

import pytest
from made_up_findings import SOME, finding

from relujax.claims import Findings

pytestmark = pytest.mark.own_precision

GROUND = "getComputedStyle(document.body).backgroundColor"
LONG = "the verdict on what everybody says at length, of which the words take more than one line of a phone"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "claims.html"
    path.write_text(Findings((*SOME, finding(LONG, ["holds", "fails"]))).to_html(), encoding="utf-8")
    return path


def lefts(tab, selector):
    return tab.run(f"[...new Set([...document.querySelectorAll({selector!r})].map(e => e.getBoundingClientRect().x))]")


def test_the_axes_of_all_claims_stand_below_each_other(tab, page):
    tab.open(page, drawn=False)
    assert len(lefts(tab, ".claim td svg")) == 1
    assert len(lefts(tab, ".claim td.outcome")) == 1


def test_a_phone_shows_all_without_sideways_scrolling_and_the_words_of_a_claim_in_its_whole_width(tab, page):
    tab.open(page, width=390, drawn=False)
    assert tab.run("document.documentElement.scrollWidth") == 390
    widths = "[...document.querySelectorAll('.overview td:first-child')].map(e => e.getBoundingClientRect().width)"
    assert min(tab.run(widths)) > 360


def test_paper_is_white_though_the_screen_is_dark(tab, page):
    tab.open(page, dark=True, drawn=False)
    assert tab.run(GROUND) == "rgb(13, 17, 23)"
    tab.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert tab.run(GROUND) == "rgb(255, 255, 255)"
