"""Runs side by side: the changes against the first are differences and factors, stage by stage."""

from dataclasses import replace

import pytest
from small_runs import diagnosis, two_runs

from relujax.report import Run, compare
from relujax.report._compare import cells


@pytest.fixture(scope="module")
def small():
    return diagnosis()


def of(small, **changes):
    """Every row changed in the same way."""
    rows = tuple(replace(row, **{k: v(row) for k, v in changes.items()}) for row in small.summary)
    return replace(small, summary=replace(small.summary, rows=rows))


@pytest.fixture(scope="module")
def compared(small):
    first = of(small, dead=lambda r: 1, active_fraction=lambda r: 0.5, weight_gradient_norm=lambda r: 3.0)
    shrunk = {"first/relu": 1.5, "second/relu": 6.0}
    other = of(small, dead=lambda r: 3, active_fraction=lambda r: 0.25, weight_gradient_norm=lambda r: shrunk[r.name])
    other = replace(other, loss=small.loss + 0.5, accuracy=small.accuracy + 0.125)
    return compare([Run("a", {"x": first}), Run("b", {"x": other, "y": other})])


def test_a_row_per_run_and_stage(compared):
    assert [(row.run, row.stage) for row in compared] == [("a", "x"), ("b", "x"), ("b", "y")]
    assert (compared[0].active_fraction, compared[0].dead, compared[0].units, compared[0].ratio) == (0.5, 2, 12, 1.0)
    assert (compared[1].active_fraction, compared[1].dead, compared[1].ratio) == (0.25, 6, 0.25)


def test_the_others_are_set_against_the_first_at_the_same_stage(compared):
    assert compared[0].change == {}
    assert compared[1].change == pytest.approx(
        {"active_fraction": -0.25, "dead": 4, "per_layer": 1, "ratio": 0.25, "loss": 0.5, "accuracy": 0.125}
    )
    assert compared[2].change == {}  # the first run has no such stage


def test_the_cells_say_value_and_change(compared):
    assert cells(compared[1])[:4] == [
        ("25%", "-25.0 pts"),
        ("6/12", "+4"),
        (f"{compared[1].per_layer:.3g}x", "×1"),
        ("0.25", "×0.25"),
    ]
    assert [change for _, change in cells(compared[0])] == [""] * 6


def test_what_is_the_same_is_no_change(small):
    [_, same] = compare([Run("a", {"x": small}), Run("b", {"x": small})])
    assert [change for _, change in cells(same)] == ["±0", "±0", "×1", "×1", "±0", "±0"]


def test_after_training_the_accuracy_is_the_held_out_one(small):
    assert [row.accuracy for row in compare(two_runs(small, ("one",)))] == [small.accuracy, 0.4375]


def test_a_comparison_prints_as_a_table_and_has_all_forms(small, compared):
    lines = str(compared).splitlines()
    assert lines[0].split() == ["run", "stage", "active", "dead", "per", "layer", "first/last", "loss", "accuracy"]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert compared.to_dict()["rows"][1]["change"]["dead"] == 4
    assert "The runs compared" in compared._repr_html_()


def test_without_a_loss_there_is_nothing_to_compare_backward(small):
    bare = replace(of(small, signal_norm=lambda r: None, weight_gradient_norm=lambda r: None), loss=None, accuracy=None)
    [_, row] = compare([Run("a", {"x": bare}), Run("b", {"x": bare})])
    assert row.change.keys() == {"active_fraction", "dead"}


def test_a_comparison_takes_a_run_with_a_stage():
    with pytest.raises(ValueError, match="got no run: expected at least one"):
        compare([])
    with pytest.raises(ValueError, match="got run 'a' without a stage: expected a diagnosis"):
        compare([Run("a", {})])
