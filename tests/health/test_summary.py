"""Summaries: rows worked out by hand from sums and counts that are written down."""

import json
from dataclasses import replace

import numpy as np
import pytest

import relujax as rx
from relujax.health import SiteSummary
from relujax.probes import ACTIVE_BINS, Opaque, Signal, SiteStats

#: Four examples of three positions each, two units: 12 elements per unit, 24 in all.
SITE = rx.Site(
    name="hidden/relu", kind="relu", path=(3,), shape=(4, 3, 2), dtype="float32", source="model.py:7", executions=2
)
HISTOGRAM = [1, 0, 3] + [0] * (ACTIVE_BINS - 3)


def site_stats(**changes):
    values = {
        "examples": np.int32(4),
        "count": np.int32(12),
        "active": np.int32([6, 0]),
        "passing": np.int32([6, 0]),
        "total": np.float32([36.0, 0.0]),
        "square": np.float32([180.0, 36.0]),
        "largest": np.float32([9.0, 3.0]),
        "nonfinite": np.int32([0, 0]),
        "histogram": np.int32(HISTOGRAM),
        "signal": Signal(norm=np.float32([3.0, 4.0]), zeros=np.float32([6.0, 12.0])),
        "site": SITE,
    }
    return SiteStats(**(values | changes))


def summary_of(*sites, opaque=()):
    return rx.summarize(rx.Stats({stats.site.name: stats for stats in sites}, opaque))


def test_a_row_by_hand():
    [row] = summary_of(site_stats())
    assert row == SiteSummary(
        name="hidden/relu",
        kind="relu",
        source="model.py:7",
        shape=(4, 3, 2),
        dtype="float32",
        units=2,
        executions=2,
        examples=4,
        active_fraction=6 / 24,
        dead=1,
        dead_bound=0.75,
        mean=1.5,
        std=pytest.approx(np.sqrt(216 / 24 - 1.5**2)),
        largest=9.0,
        nonfinite=0,
        active_histogram=tuple(HISTOGRAM),
        signal_norm=pytest.approx(5 / np.sqrt(4)),
        signal_zero_fraction=18 / 24,
    )
    assert (row.weight_gradient_norm, row.singular_values, row.rank) == (None, None, None)


def test_without_a_loss_nothing_is_said_of_the_signal():
    [row] = summary_of(site_stats(signal=None))
    assert (row.signal_norm, row.signal_zero_fraction) == (None, None)


def test_what_is_not_finite_is_counted_and_left_out_of_mean_and_deviation():
    [row] = summary_of(site_stats(nonfinite=np.int32([4, 0])))
    assert row.nonfinite == 4
    assert row.mean == 36 / 20
    assert row.std == pytest.approx(np.sqrt(216 / 20 - 1.8**2))


def test_nothing_finite_leaves_numbers_and_not_a_crash():
    zeros = np.zeros(2, np.float32)
    [row] = summary_of(site_stats(nonfinite=np.int32([12, 12]), total=zeros, square=zeros, largest=zeros))
    assert (row.nonfinite, row.mean, row.std) == (24, 0, 0)


def test_a_unit_is_dead_by_its_slope_and_not_by_its_output():
    [row] = summary_of(site_stats(active=np.int32([0, 0]), passing=np.int32([1, 5])))
    assert (row.dead, row.active_fraction) == (0, 0)


@pytest.mark.parametrize(("examples", "bound"), [(1, 1.0), (3, 1.0), (30, 0.1), (3000, 0.001)])
def test_dead_units_are_bounded_by_three_over_the_examples(examples, bound):
    [row] = summary_of(site_stats(examples=np.int32(examples)))
    assert row.dead_bound == bound


def test_a_constant_output_has_no_deviation_whatever_the_rounding():
    total, square = np.float32([12 * 0.1] * 2), np.float32([12 * 0.1 * 0.1] * 2) * np.float32(1 - 1e-6)
    [row] = summary_of(site_stats(total=total, square=square))
    assert row.std == 0


def test_counts_beyond_32_bits_stay_exact():
    many = np.int64([2**40, 0])
    [row] = summary_of(site_stats(count=np.int64(2**40), active=many, passing=many))
    assert row.active_fraction == 0.5


def test_rows_stand_in_execution_order():
    later = replace(SITE, name="a/relu", path=(10,))
    inside = replace(SITE, name="z/relu", path=(3, 1))
    summary = summary_of(site_stats(site=later), site_stats(site=inside), site_stats())
    assert [row.name for row in summary] == ["hidden/relu", "z/relu", "a/relu"]


def test_a_summary_is_a_sequence_of_rows():
    summary = summary_of(site_stats(), site_stats(site=replace(SITE, name="out/relu", path=(5,))))
    assert len(summary) == 2
    assert summary[-1].name == "out/relu"
    assert summary[0] in summary
    assert [row.name for row in summary[:1]] == ["hidden/relu"]


def test_the_dict_is_ready_for_json_and_holds_every_field():
    opaque = Opaque("scan", ("relu", "tanh"), "the probe does not look inside scan yet", "model.py:9")
    found = summary_of(site_stats(), opaque=(opaque,)).to_dict()
    read = json.loads(json.dumps(found))
    assert read["sites"][0].keys() == SiteSummary.__dataclass_fields__.keys()
    assert read["sites"][0]["active_histogram"] == HISTOGRAM
    assert read["opaque"] == [
        {
            "primitive": "scan",
            "kinds": ["relu", "tanh"],
            "reason": "the probe does not look inside scan yet",
            "source": "model.py:9",
        }
    ]


def test_it_prints_as_a_table():
    rows = summary_of(site_stats(), site_stats(site=replace(SITE, name="out/relu", path=(5,)), signal=None)).rows
    rows = (replace(rows[0], weight_gradient_norm=0.125, singular_values=(17.5, 1.0)), rows[1])
    head, first, second = str(rx.Summary(rows)).splitlines()
    assert head.split() == ["site", "active", "dead", "mean", "signal", "weights", "sigma", "max"]
    assert first.split() == ["hidden/relu", "25.0%", "1/2", "1.5", "2.5", "0.125", "17.5"]
    assert second.split() == ["out/relu", "25.0%", "1/2", "1.5", "-", "-", "-"]
