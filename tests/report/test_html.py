"""The page: self-contained, nothing in it is taken for markup, and a browser draws all of it with no network."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from small_models import PARAMS, X, apply
from small_runs import ALARMS, HOSTILE, diagnosis, named, two_runs

import relujax as rx
from relujax.report import as_run
from relujax.report._charts import charts
from relujax.report._html import page, verdict

pytestmark = pytest.mark.own_precision

CHARTS = ["signal", "weights", "singular-values", "units", "per-example", "training", "initialisers"]


class Parsed(HTMLParser):
    """A page as its tags with their attributes, its scripts and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.texts, self.style, self._open = [], [], [], "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif self._open == "style":
            self.style += data
        else:
            self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def plots(self):
        return [a["data-figure"] for _, a in self.tags if a.get("class") == "plot"]

    @property
    def figures(self):
        [block] = [text for attributes, text in self.scripts if attributes.get("type") == "application/json"]
        return json.loads(block)


@pytest.fixture(scope="module")
def runs():
    return two_runs(diagnosis(alarms=ALARMS, notes=("a note",)), facts={"depth": 2, "seed": 0, "clip_norm": None})


@pytest.fixture(scope="module")
def parsed(runs):
    return Parsed(page(runs))


@pytest.fixture(scope="module")
def hostile_page():
    return page(two_runs(named(HOSTILE), (HOSTILE, f"2{HOSTILE}"), (HOSTILE, f"3{HOSTILE}"), {HOSTILE: HOSTILE}))


def test_nothing_is_loaded_from_anywhere(parsed):
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, attributes)
    assert not {"iframe", "object", "embed", "base", "form", "img"} & {tag for tag, _ in parsed.tags}
    assert not re.search(r"@import|url\(", parsed.style)


def test_the_policy_allows_the_inline_scripts_by_their_hashes_alone(parsed):
    [policy] = [a["content"] for a in parsed.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    scripts = [text for attributes, text in parsed.scripts if "type" not in attributes]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 2
    assert rules["script-src"] == [f"'sha256-{digest}'" for digest in hashes]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:", "blob:"]
    assert rules.keys() == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}


def test_the_policy_stands_before_anything_that_it_governs(parsed):
    order = [tag for tag, _ in parsed.tags]
    policy = next(i for i, (_, a) in enumerate(parsed.tags) if a.get("http-equiv") == "Content-Security-Policy")
    assert policy < min(order.index(tag) for tag in ("script", "style", "link"))


def test_every_chart_of_two_trained_runs_is_there(parsed):
    assert parsed.plots == CHARTS
    assert list(parsed.figures) == CHARTS
    assert {a["id"] for a in parsed.named("section") if "id" in a} == {*CHARTS, "numbers"}
    for figure in parsed.figures.values():
        assert figure["data"]


def test_every_run_and_stage_is_in_the_charts_over_depth(parsed):
    for key in ("signal", "weights", "units", "training"):
        assert {trace["name"] for trace in parsed.figures[key]["data"]} == {"one", "two"}, key
    for key in ("signal", "weights"):
        assert len(parsed.figures[key]["data"]) == 4
    panels = [note["text"] for note in parsed.figures["per-example"]["layout"]["annotations"]]
    assert panels == ["one, before", "two, before", "one, after", "two, after"]


def test_the_charts_hold_the_numbers_of_the_summary(runs, parsed):
    rows = list(runs[0].stages["before"].summary)

    def ys(key):
        return parsed.figures[key]["data"][0]["y"]

    assert ys("signal") == pytest.approx([row.signal_norm for row in rows])
    assert ys("weights") == pytest.approx([row.weight_gradient_norm for row in rows])
    assert ys("units") == pytest.approx([row.active_fraction for row in rows])
    assert parsed.figures["units"]["data"][1]["y"] == pytest.approx([row.dead / row.units for row in rows])
    assert ys("training") == [2.5, 1.25, 0.625]
    assert ys("initialisers") == [1e-4, 1e-2]
    largest = parsed.figures["singular-values"]["data"][4]["y"]
    assert largest == pytest.approx([row.singular_values[0] for row in rows])
    shares = parsed.figures["per-example"]["data"][0]["z"]
    assert [sum(filter(None, column)) for column in zip(*shares, strict=True)] == pytest.approx([1, 1])


def test_the_words_of_every_alarm_and_note_are_there(runs, parsed):
    text = " ".join(" ".join(parsed.texts).split())
    for alarm in ALARMS:
        assert alarm.message in text
        assert (f"Usually helps: {alarm.remedy}." in text) == (alarm.severity != "info")
    titles = [a.get("title") for a in parsed.named("li")]
    assert "rule critical: reference critical" in titles
    assert "a note" in text
    assert "model.py:7" in text
    assert "43.8% of held-out images right" in re.sub(r" +", " ", text)
    assert "depth 2 · seed 0" in text
    assert "clip norm" not in text


def test_the_table_holds_the_numbers(runs, parsed):
    row = runs[0].stages["before"].summary[0]
    cells = [text for text in parsed.texts if text.strip()]
    for cell in ("first/relu", f"{row.active_fraction:.1%}", f"{row.dead} of 6", f"{row.signal_norm:.3g}"):
        assert cells.count(cell) >= 4, cell  # a table for each run and stage
    assert any("at most 8.11% of examples like these, with 95 % confidence (3 / 37)" in cell for cell in cells)


@pytest.mark.parametrize(
    ("criticals", "sentence"),
    [
        ((0, 0), "No critical finding: the gradient arrives in every layer."),
        ((0, 1), "1 of 2 runs has a critical finding: two (rule critical)."),
        ((1, 1), "2 of 2 runs have a critical finding: one (rule critical); two (rule critical)."),
        ((1,), "Critical: rule critical."),
    ],
)
def test_the_verdict_is_a_sentence(runs, criticals, sentence):
    quiet, loud = (diagnosis_with(runs, alarms) for alarms in (ALARMS[1:], ALARMS))
    names = ("one", "two")[: len(criticals)]
    given = [two_runs(loud if bad else quiet, (name,))[0] for name, bad in zip(names, criticals, strict=True)]
    assert verdict(given) == sentence


def diagnosis_with(runs, alarms):
    return rx.Diagnosis(summary=runs[0].stages["before"].summary, alarms=alarms, examples=37)


def test_without_a_loss_the_charts_of_gradients_are_left_out():
    found = Parsed(rx.diagnose(apply, X, params=PARAMS).to_html())
    assert found.plots == ["singular-values", "units", "per-example"]
    assert any("no loss was given" in text for text in found.texts)


def test_a_notebook_shows_the_page(runs):
    found = runs[0].stages["before"]
    assert found.to_html() == page([as_run(found)])
    frame = found._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert frame.count("<") == 2  # all of the page is inside the attribute
    assert found.to_html() in html.unescape(frame)


def test_hostile_names_are_text_and_nothing_else(hostile_page, parsed):
    found = Parsed(hostile_page)
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in parsed.tags}
    assert len(found.scripts) == 3
    allowed = {name for _, attributes in parsed.tags for name in attributes}
    assert {name for _, attributes in found.tags for name in attributes} <= allowed
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    text = " ".join(found.texts)
    assert text.count(HOSTILE) > 20
    assert [a.get("title") for a in found.named("li")].count(f"{HOSTILE}: {HOSTILE}") == 4


def test_hostile_names_in_the_figures_are_escaped_once_more_for_the_charting_library(hostile_page):
    # It reads a little HTML of its own in titles, legends and hover texts.
    block = re.search(r'id="figures">(.*?)</script>', hostile_page, re.S)[1]
    assert "<" not in block
    assert "\\u003c" not in re.sub(r"\\u003c(/?b|br|extra|/extra)>", "", block)
    assert "&lt;/script&gt;&lt;img" in block


def chromium(path, profile):
    """The page's DOM after its scripts ran, and what the console said; with no network where that can be cut."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine: the page was not opened in a browser")
    offline = ["unshare", "-rn"]
    if not shutil.which("unshare") or subprocess.run([*offline, "true"], capture_output=True, check=False).returncode:
        offline = []
    switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000", "--dump-dom"]
    logging = [
        "--enable-logging=stderr",
        "--v=0",
        f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    done = subprocess.run(
        [*offline, browser, *switches, *logging, path.as_uri()], capture_output=True, text=True, timeout=180, check=True
    )
    # The browser's own pages have something to say without a network.
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "source: chrome://" not in line]
    return Parsed(done.stdout), said


def drawings(dom):
    """The classes of everything inside each plot."""
    found = {}
    for _, attributes in dom.tags:
        if "plot" in (attributes.get("class") or "").split():
            found[attributes["data-figure"]] = []
        elif found:
            found[list(found)[-1]].append(attributes.get("class") or "")
    return found


def test_a_browser_draws_every_chart_with_no_network_and_no_complaint(hostile_page, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(hostile_page, encoding="utf-8")
    dom, console = chromium(path, tmp_path / "profile")
    assert console == []
    [root] = dom.named("html")
    assert root.get("data-drawn") == str(len(CHARTS))
    drawn = drawings(dom)
    assert list(drawn) == CHARTS
    for key, classes in drawn.items():
        assert "main-svg" in classes, key
    traces = [name for name in drawn["signal"] if name.startswith("trace scatter")]
    assert len(traces) == 4  # two runs at two stages
    assert not any("onerror" in attributes for _, attributes in dom.tags)
    assert not any(attributes.get("src") == "x" for _, attributes in dom.tags)


def test_a_browser_refuses_a_script_that_is_not_the_one_in_the_policy(hostile_page, tmp_path):
    """And so the test above would see it."""
    path = tmp_path / "report.html"
    path.write_text(hostile_page.replace('"use strict";\n(() => {', '"use strict"; \n(() => {'), encoding="utf-8")
    dom, console = chromium(path, tmp_path / "profile")
    assert "data-drawn" not in dom.named("html")[0]
    assert any("Content Security Policy" in line for line in console)


def test_rules_that_could_not_run_are_among_the_notes():
    found = Parsed(page(two_runs(diagnosis())))
    lines = [text for text in found.texts if "not checked" in text]
    assert lines.count("not checked, no params and updates were given: update/weight ratio") == 1


def test_what_theory_says_is_drawn_as_dots():
    small = diagnosis()
    [plain] = two_runs(small, ("one",))
    run = replace(plain, predicted={"signal_norm": (0.5, 2.0), "largest_singular_value": (3.0, 4.0)})
    drawn = [chart.figure.data for chart in charts([run]) if chart.key in ("signal", "singular-values")]
    for traces, values in zip(drawn, run.predicted.values(), strict=True):
        [dots] = [trace for trace in traces if trace.line.dash == "dot"]
        assert tuple(dots.y) == values
        assert dots.text[0].endswith(f"layer 1: {values[0]:.3g} by theory")
    assert not [t for chart in charts([plain])[:3] for t in chart.figure.data if t.line.dash == "dot"]
