"""The page: self-contained, nothing in it is taken for markup, and all that the runs hold is in it."""

import base64
import gzip
import hashlib
import html
import itertools
import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest
from small_models import PARAMS, X, apply
from small_runs import ALARMS, HOSTILE, diagnosis, named, two_runs

import relujax as rx
from relujax.report import History, as_run
from relujax.report._document import document
from relujax.report._html import page

pytestmark = pytest.mark.own_precision

#: Sections with figures, and how many figures two runs of two stages have in each.
PLOTS = {"picture": 2, "gains": 2, "per-example": 4, "training": 3, "initialisers": 2}
KEYS = [f"{key}-{number}" for key, count in PLOTS.items() for number in range(count)]


def unpack(text):
    return gzip.decompress(base64.b64decode(text)).decode()


class Parsed(HTMLParser):
    """A page as its tags with their attributes, its scripts, packed ones unpacked, and its text."""

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
        if tag == "script" and self.scripts[-1][0].get("data-packed"):
            self.scripts[-1] = (self.scripts[-1][0], unpack(self.scripts[-1][1]))
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

    def data(self, name):
        [block] = [text for attributes, text in self.scripts if attributes.get("id") == name]
        return json.loads(block)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def plots(self):
        return [a["data-figure"] for _, a in self.tags if "data-figure" in a]

    def traces(self, key, axis="y", role="line"):
        """Of one figure, by the number of the run."""
        found = {}
        for trace in self.data("figures")[key]["data"]:
            if trace.get("yaxis", "y") == axis and trace["meta"]["role"] == role:
                found.setdefault(trace["meta"]["run"], []).append(trace)
        return found


@pytest.fixture(scope="module")
def runs():
    return two_runs(diagnosis(alarms=ALARMS, notes=("a note",)), facts={"depth": 2, "seed": 0, "clip_norm": None})


@pytest.fixture(scope="module")
def parsed(runs):
    return Parsed(page(runs))


@pytest.fixture(scope="module")
def hostile():
    return Parsed(
        page(two_runs(named(HOSTILE), (HOSTILE, f"2{HOSTILE}"), (HOSTILE, f"3{HOSTILE}"), {HOSTILE: HOSTILE}))
    )


def test_nothing_is_loaded_from_anywhere(parsed):
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, attributes)
    assert not {"iframe", "object", "embed", "base", "form", "img"} & {tag for tag, _ in parsed.tags}
    assert not re.search(r"@import|url\(", parsed.style)


def test_the_policy_allows_the_scripts_by_their_hashes_alone(parsed):
    [policy] = [a["content"] for a in parsed.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    scripts = [text for attributes, text in parsed.scripts if attributes.get("type") != "application/json"]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert len(scripts) == 3  # what unpacks, the charting library, what draws
    assert set(rules["script-src"]) == {f"'sha256-{digest}'" for digest in hashes}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:", "blob:"]
    assert rules.keys() == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}


def test_the_policy_stands_before_anything_that_it_governs(parsed):
    order = [tag for tag, _ in parsed.tags]
    policy = next(i for i, (_, a) in enumerate(parsed.tags) if a.get("http-equiv") == "Content-Security-Policy")
    assert policy < min(order.index(tag) for tag in ("script", "style", "link"))


def test_any_page_can_be_made_so():
    text = document("<b>", "<p>words</p>", scripts=["one()", "two()"], data={"numbers": {"</script>": 1}})
    found = Parsed(text)
    assert [script for attributes, script in found.scripts if not attributes][1:] == ["one()", "two()"]
    assert found.data("numbers") == {"</script>": 1}
    assert "<b>" in found.texts  # the title, as text
    with pytest.raises(ValueError, match="JSON"):
        document("", "", data={"numbers": float("nan")})


def test_every_figure_of_two_trained_runs_is_there(parsed):
    assert parsed.plots == KEYS
    assert list(parsed.data("figures")) == KEYS
    sections = [a["id"] for a in parsed.named("section")]
    assert sections == [
        *("findings", "picture", "compared", "numbers", "layer"),
        *("gains", "per-example", "training", "initialisers"),
    ]
    assert all(figure["data"] for figure in parsed.data("figures").values())


def test_the_picture_has_one_axis_of_depth_and_a_panel_per_quantity(parsed):
    layout = parsed.data("figures")["picture-0"]["layout"]
    assert [key for key in layout if key.startswith("xaxis")] == ["xaxis"]
    assert [key for key in layout if key.startswith("yaxis")] == ["yaxis", *(f"yaxis{n}" for n in range(2, 7))]
    tops = [layout[key]["domain"] for key in layout if key.startswith("yaxis")]
    assert all(low > below for (low, _), (_, below) in itertools.pairwise(tops))  # downward, none over another


def test_the_figures_hold_the_numbers_of_the_summary(runs, parsed):
    rows = list(runs[0].stages["before"].summary)
    values = {
        "y": [(row.mean**2 + row.std**2) ** 0.5 for row in rows],
        "y2": [row.signal_norm for row in rows],
        "y3": [row.weight_gradient_norm for row in rows],
        "y5": [row.active_fraction for row in rows],
        "y6": [row.dead / row.units for row in rows],
    }
    for axis, want in values.items():
        by_run = parsed.traces("picture-0", axis)
        assert by_run.keys() == {0, 1}
        assert by_run[0][0]["y"] == pytest.approx(want, rel=1e-5)
    # At most eight singular values: each has a line.
    lines = [trace["y"] for trace in parsed.traces("picture-0", "y4")[0]]
    largest = [row.singular_values[0] for row in rows]
    assert any(line == pytest.approx(largest, rel=1e-5) for line in lines)
    assert len(lines) == max(len(row.singular_values) for row in rows) > 1
    assert parsed.traces("training-0")[0][0]["y"] == [2.5, 1.25, 0.625]
    assert [trace["y"] for trace in parsed.traces("initialisers-0")[0]] == [[1e-4, 1e-2], [0.9, 1.1]]
    shares = parsed.traces("per-example-0")[0][0]["z"]
    assert [sum(filter(None, column)) for column in zip(*shares, strict=True)] == pytest.approx([1, 1], rel=1e-2)
    gains = parsed.traces("gains-0")[0]
    assert gains[0]["y"] == pytest.approx([row.activation_gain for row in rows], rel=1e-5)
    assert gains[1]["y"] == pytest.approx([rows[1].weight_gain], rel=1e-5)


def test_many_singular_values_are_a_fan_between_quantiles(runs):
    values = tuple(2.0**n for n in range(4, -5, -1))  # 16 to 1/16: the quartiles of the logarithms are 4 and 1/4
    summary = runs[0].stages["before"].summary
    rows = tuple(replace(row, singular_values=values, rank=9.0) for row in summary)
    found = Parsed(page([as_run(replace(runs[0].stages["before"], summary=replace(summary, rows=rows)))]))
    bands = [trace["y"] for trace in found.traces("picture-0", "y4", "fan")[0]]
    assert bands == [[1 / 16] * 2, [16] * 2, [1 / 4] * 2, [4] * 2]
    assert [trace["y"] for trace in found.traces("picture-0", "y4")[0]] == [[1] * 2, [16] * 2]


def test_what_theory_says_is_dotted_in_the_stage_that_it_is_said_of(runs):
    expected = {"output_rms": (1.0, 2.0), "signal_norm": (0.5, 2.0), "largest_singular_value": (3.0, 4.0)}
    first, *others = runs[0].stages.items()
    stages = dict([(first[0], replace(first[1], predicted=expected)), *others])
    found = Parsed(page([replace(runs[0], stages=stages)]))
    for axis, values in zip(("y", "y2", "y4"), expected.values(), strict=True):
        [dots] = found.traces("picture-0", axis, "theory")[0]
        assert (dots["y"], dots["line"]["dash"]) == (list(values), "dot")
        assert dots["text"][0].endswith(f"layer 1: {values[0]:.3g} by theory")
        assert found.traces("picture-1", axis, "theory") == {}
    assert "Dotted: what a stack of infinite width does whose weights are independent" in found.text
    assert "Dotted: what" not in Parsed(page(runs)).text


def test_every_finding_is_told_once_with_its_place_source_and_remedy(parsed):
    for alarm in ALARMS:
        assert parsed.text.count(alarm.message) == 1  # of two runs at two stages
        assert parsed.text.count(f"{alarm.remedy}.") == (alarm.severity != "info")
        assert parsed.text.count(alarm.reference) == 1
    order = [parsed.text.index(alarm.message) for alarm in ALARMS]
    assert order == sorted(order)
    assert "model.py:7" in parsed.text
    assert "a note" in parsed.text


def test_the_head_says_how_the_runs_were_made(runs, parsed):
    assert "2 runs · 37 examples · depth 2 · seed 0" in parsed.text
    assert "clip norm" not in parsed.text
    assert "43.8% of held-out examples right" in Parsed(page(runs[:1])).text


def test_the_tables_hold_the_numbers(runs, parsed):
    row = runs[0].stages["before"].summary[0]
    cells = [text for text in parsed.texts if text.strip()]
    numbers = (f"{row.active_fraction:.1%}", f"{row.dead} of 6", f"{row.signal_norm:.3g}", f"{row.activation_gain:.3g}")
    for cell in ("first/relu", *numbers):
        assert cells.count(cell) >= 4, cell  # a table for each run and stage
    assert any("at most 8.11% of examples like these, with 95 % confidence (3 / 37)" in cell for cell in cells)
    assert len([a for a in parsed.named("table") if a.get("class") == "layers"]) == 4


def test_a_layer_s_detail_has_its_histograms(runs):
    found = rx.diagnose(apply, X, params=PARAMS, edges=(0.0, 0.5, 2.0))
    layers = Parsed(page([as_run(found)])).data("layers")
    [line] = layers["lines"]
    for row, given in zip(line["rows"], found.summary, strict=True):
        assert row["active"] == list(given.active_histogram)
        assert row["outputs"] == list(given.output_histogram)
        assert sum(row["outputs"]) == 37 * 6
        assert row["edges"] == [0.0, 0.5, 2.0]
    assert Parsed(page(runs)).data("layers")["lines"][0]["rows"][0]["outputs"] is None


def test_the_layer_that_is_shown_first_is_the_one_of_the_worst_finding(runs):
    alarm = replace(ALARMS[0], site="second/relu")
    found = replace(runs[0].stages["before"], alarms=(alarm, *ALARMS[1:]))
    assert Parsed(page([as_run(found)])).data("layers")["first"] == 1
    assert Parsed(page(runs)).data("layers")["first"] == 0


def test_without_a_loss_the_figures_of_gradients_are_left_out():
    found = Parsed(rx.diagnose(apply, X, params=PARAMS).to_html())
    assert found.plots == ["picture-0", "per-example-0"]
    assert len([key for key in found.data("figures")["picture-0"]["layout"] if key.startswith("yaxis")]) == 4
    assert "no loss was given" in found.text


def test_what_is_not_finite_breaks_the_line_and_nothing_else(runs):
    summary = runs[0].stages["before"].summary
    row = replace(summary[0], signal_norm=float("nan"), std=float("inf"), singular_values=(float("inf"), 1.0))
    broken = replace(runs[0].stages["before"], summary=replace(summary, rows=(row, summary[1])))
    found = Parsed(page([as_run(broken)]))
    for axis in ("y", "y2", "y4"):
        assert found.traces("picture-0", axis)[0][-1]["y"][0] is None


def test_runs_of_one_name_are_told_apart(runs):
    found = Parsed(page([runs[0], runs[0], replace(runs[0], name="one (2)")]))
    assert "one (3)" in found.text
    assert len(found.data("layers")["lines"]) == 6


def test_a_report_that_is_partial_says_so_first(runs, parsed):
    note = "partial: interrupted after 3 of 9 <batches>"
    for changed in (
        replace(runs[0], notes=(note,)),
        replace(runs[0], stages={"x": replace(runs[0].stages["before"], notes=(note,))}),
    ):
        text = Parsed(page([changed])).text
        assert text.count("interrupted after 3 of 9 <batches>") == 1
        assert text.index("This report is partial.") < text.index("Findings")
    assert "partial" not in parsed.text


def test_a_page_that_is_watched_says_that_it_loads_itself_again(runs):
    partial = replace(runs[0], notes=("partial: not begun: tanh",))
    again = "It loads itself again every 10 seconds, until the end."
    assert again in Parsed(page([partial], refresh=10)).text
    assert again not in Parsed(page([partial])).text


def test_of_a_run_in_training_loss_and_accuracy_are_of_one_moment_and_a_single_point_is_drawn(runs):
    first = replace(runs[0], stages={"before": runs[0].stages["before"]})
    assert "43.8% of held-out examples right · loss 0.625" in Parsed(page([first])).text
    for points, mode in ((1, "markers"), (2, "lines")):
        history = History(*(getattr(first.history, field.name)[:points] for field in fields(History)))
        figures = Parsed(page([replace(first, history=history)])).data("figures")
        assert {figures[f"training-{n}"]["data"][0]["mode"] for n in range(3)} == {mode}


def test_a_notebook_shows_the_page(runs):
    found = runs[0].stages["before"]
    assert found.to_html() == page([as_run(found)])
    frame = found._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert frame.count("<") == 2  # all of the page is inside the attribute
    assert found.to_html() in html.unescape(frame)
    assert html.unescape(runs[0]._repr_html_()).count(page(runs[:1])) == 1


def test_hostile_names_are_text_and_nothing_else(hostile, parsed):
    assert {tag for tag, _ in hostile.tags} <= {tag for tag, _ in parsed.tags}
    assert len(hostile.scripts) == len(parsed.scripts)
    allowed = {name for _, attributes in parsed.tags for name in attributes}
    assert {name for _, attributes in hostile.tags for name in attributes} <= allowed
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert hostile.text.count(HOSTILE) > 20


def test_hostile_names_in_the_figures_are_escaped_once_more_for_the_charting_library(hostile):
    # It reads a little HTML of its own in titles, legends and hover texts.
    allowed = re.compile(r"</?(b|br|extra)>")
    for _, text in strings(hostile.data("figures")):
        assert "<" not in allowed.sub("", text)
    labels = [line["label"] for line in hostile.data("layers")["lines"]]
    assert len(labels) == 4
    assert not any("<" in label for label in labels)


def strings(value, key=""):
    if isinstance(value, dict):
        for name, item in value.items():
            yield from strings(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, key)
    elif isinstance(value, str):
        yield key, value


def test_rules_that_could_not_run_are_among_the_notes():
    found = Parsed(page(two_runs(diagnosis())))
    assert found.text.count("not checked, no params and updates were given: update/weight ratio") == 1


def test_a_page_takes_a_run():
    with pytest.raises(ValueError, match="got no run: expected at least one"):
        page([])
    with pytest.raises(ValueError, match="got run 'a' without a stage"):
        page([rx.report.Run("a", {})])
