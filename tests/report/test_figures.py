"""The static picture: six panels over depth with the numbers of the summary."""

from dataclasses import replace

import numpy as np
import pytest
from small_models import PARAMS, X, apply
from small_runs import HOSTILE, diagnosis, two_runs

import relujax as rx
from relujax.report import overview


@pytest.fixture(scope="module")
def small():
    return diagnosis()


def lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in ax.lines}


def test_each_panel_has_a_line_per_run_with_its_numbers(small):
    other = replace(small, summary=replace(small.summary, rows=small.summary.rows[::-1]))
    figure, axes = overview([*two_runs(small, ("one",)), *two_runs(other, ("two",))])
    values = [
        lambda row: (row.mean**2 + row.std**2) ** 0.5,
        lambda row: row.signal_norm,
        lambda row: row.weight_gradient_norm,
        lambda row: row.singular_values[0],
        lambda row: row.active_fraction,
        lambda row: row.dead / row.units,
    ]
    for ax, value in zip(axes.flat, values, strict=True):
        want = [value(row) for row in small.summary]
        assert list(lines(ax)) == ["one", "two"]
        np.testing.assert_allclose(lines(ax)["one"], want)
        np.testing.assert_allclose(lines(ax)["two"], want[::-1])
        assert ax.get_title(loc="left")
        assert ax.get_ylabel()
    assert [ax.get_yscale() for ax in axes.flat] == [*["log"] * 4, "linear", "linear"]
    assert legend(figure) == ["one", "two"]
    figure.canvas.draw()


def legend(figure):
    [found] = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_runs_can_be_told_apart_without_colour(small):
    _, axes = overview(two_runs(small))
    first, second = axes[0, 0].lines
    assert first.get_marker() != second.get_marker()
    assert first.get_color() != second.get_color()


def test_a_stage_can_be_chosen(small):
    quiet = replace(small, summary=replace(small.summary, rows=small.summary.rows[:1]))
    [run] = two_runs(small, ("one",))
    run = replace(run, stages={"before": small, "after": quiet})
    assert len(lines(overview([run])[1][0, 0])["one"]) == 2
    assert len(lines(overview([run], stage="after")[1][0, 0])["one"]) == 1


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_stage_that_is_not_there_is_refused(small, name):
    runs = [replace(run, stages={"before": small}) if run.name == name else run for run in two_runs(small)]
    with pytest.raises(ValueError, match=f"got stage 'after': expected one of 'before' for run '{name}'"):
        overview(runs, stage="after")


def test_without_a_loss_or_with_what_is_not_finite_the_rest_is_drawn(small):
    unmeasured = rx.diagnose(apply, X, params=PARAMS)
    row = replace(small.summary[0], signal_norm=np.nan, singular_values=(np.inf, 1.0))
    broken = replace(small, summary=replace(small.summary, rows=(row, small.summary[1])))
    for found, points in ((unmeasured, 0), (broken, 1)):
        figure, axes = found.figure()
        figure.canvas.draw()
        [line] = axes[0, 1].lines
        assert np.isfinite(line.get_ydata()).sum() == points
        assert len(axes[1, 1].lines[0].get_ydata()) == 2
        assert [text.get_text() for text in axes[0, 1].texts] == ["not measured"] * (points == 0)


def test_hostile_names_are_drawn_as_text(small):
    figure, _ = overview(two_runs(small, (HOSTILE, "$\\frac{1}{$")))
    figure.canvas.draw()
    assert [text.replace("\\$", "$") for text in legend(figure)] == [HOSTILE, "$\\frac{1}{$"]


def test_what_theory_says_is_dotted_in_the_stage_that_it_is_said_of(small):
    [run] = two_runs(small, ("one",))
    expected = {"output_rms": (5.0, 6.0), "signal_norm": (1.0, 2.0), "largest_singular_value": (3.0, 4.0)}
    run = replace(run, stages={"before": replace(small, predicted=expected), "after": small})
    figure, axes = overview([run])
    for ax, values in zip((axes[0, 0], axes[0, 1], axes[1, 0]), expected.values(), strict=True):
        dotted = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_ydata())]
        assert [tuple(line.get_ydata()) for line in dotted] == [values]
    assert legend(figure) == ["one", "theory, infinite width"]
    assert [line.get_linestyle() for line in run.figure("after")[1][0, 1].lines] == ["-"]
