"""Summaries: rows worked out by hand from sums and counts that are written down."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.health import SiteSummary
from relujax.health._dormant import NONNEGATIVE
from relujax.probes import ACTIVE_BINS, Opaque, Signal, SiteStats

#: Four examples of three positions each, two units: 12 elements per unit, 24 in all.
SITE = rx.Site(
    name="hidden/relu",
    kind="relu",
    path=(3,),
    shape=(4, 3, 2),
    dtype="float32",
    source="model.py:7",
    weights=("hidden/kernel",),
    executions=2,
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
        "outputs": None,
        "signal": Signal(norm=np.float32([3.0, 4.0]), zeros=np.float32([6.0, 12.0])),
        "site": SITE,
    }
    return SiteStats(**(values | changes))


def summary_of(*sites, opaque=()):
    return rx.summarize(rx.Stats.of(sites, opaque))


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
        dormant=1,  # means of 3 and 0; the layer's is 1.5
        silent=0,
        weights=("hidden/kernel",),
    )
    assert row.dead_fraction == 0.5
    assert row.root_mean_square == pytest.approx(np.sqrt(216 / 24))
    assert (row.weight_gradient_norm, row.weight_gradient_mean, row.singular_values, row.rank) == (None,) * 4
    assert (row.saturated, row.saturated_fraction, row.output_histogram) == (None, None, None)
    assert (row.step, row.steps) == ((), ())


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
    assert head.split() == ["site", "active", "dead", "mean", "signal", "weights", "sigma", "max", "source"]
    assert first.split() == ["hidden/relu", "25.0%", "1/2", "1.5", "2.5", "0.125", "17.5", "model.py:7"]
    assert second.split() == ["out/relu", "25.0%", "1/2", "1.5", "-", "-", "-", "model.py:7"]


def test_a_long_name_is_cut_at_its_beginning_and_columns_stay_aligned():
    [row] = summary_of(site_stats())
    long = replace(row, name="encoder/" * 20 + "layers[11]/relu", source="/home/someone/project/model.py:7")
    head, first, second = str(rx.Summary((row, long))).splitlines()
    assert second.startswith("…")
    assert "encoder/layers[11]/relu " in second
    assert second.endswith(" model.py:7")
    assert {line.index(word) for line, word in ((head, "source"), (first, "model"), (second, "model"))} == {
        len(first) - 10
    }
    assert str(replace(row, name="n" * 40) and rx.Summary((replace(row, name="n" * 40),))).count("n" * 40) == 1


def test_it_says_that_parts_are_missing_and_an_empty_one_prints():
    opaque = Opaque("scan", ("relu",), "no reason", "model.py:9")
    assert str(summary_of(site_stats(), opaque=(opaque, opaque))).splitlines()[-1].endswith(": 2; see .opaque")
    assert str(rx.Summary(())).split()[0] == "site"


def units_of(kind="relu", n=4, **changes):
    """One example of one number per unit, except for what is changed."""
    zeros, ones = np.zeros(n), np.ones(n, np.int32)
    values = {"active": ones, "passing": ones, "total": zeros, "square": zeros, "largest": zeros}
    site = replace(SITE, kind=kind, shape=(100, n))
    [row] = summary_of(
        site_stats(site=site, signal=None, nonfinite=0 * ones, count=np.int32(100), **(values | changes))
    )
    return row


def test_dormant_is_relative_to_the_layer_s_mean():
    """Means of 4, 4, 4 and x: with the mean of the layer (12 + x) / 4, x / mean is 0.025 at x = 0.3 / 3.975."""
    edge = 100 * 0.3 / 3.975
    assert units_of(total=np.array([400, 400, 400, edge * 0.999])).dormant == 1
    assert units_of(total=np.array([400, 400, 400, edge * 1.001])).dormant == 0
    assert units_of(total=1e-9 * np.array([400, 400, 400, 400])).dormant == 0  # all small is not relative
    assert units_of(total=np.zeros(4)).dormant == 4  # nothing at all is


def test_what_can_be_negative_is_dormant_by_its_root_mean_square():
    """Means of 0 on both sides say nothing: squares of 16, 16, 16 and x^2, the same edge."""
    edge = 0.3 / 3.975
    for kind in ("tanh", "leaky_relu", "gelu"):
        assert units_of(kind, square=100 * np.array([16, 16, 16, (edge * 0.999) ** 2])).dormant == 1
        assert units_of(kind, square=100 * np.array([16, 16, 16, (edge * 1.001) ** 2])).dormant == 0


def test_a_relu_with_negative_outputs_is_a_gate_s_product_and_is_taken_by_its_square():
    assert units_of(total=np.array([-400, 400, 0, 0]), square=np.full(4, 1600)).dormant == 0
    assert units_of(total=np.array([400, 400, 0, 0]), square=np.full(4, 1600)).dormant == 2


def test_what_is_not_finite_is_not_dormant():
    gone = np.int32([100, 0, 0, 0])
    row = units_of(total=np.array([0, 400, 400, 1]))
    assert (row.dormant, row.silent) == (2, 4)
    [row] = summary_of(
        site_stats(
            site=replace(SITE, shape=(100, 4)),
            count=np.int32(100),
            total=np.array([0, 400, 400, 1.0]),
            square=np.zeros(4),
            largest=np.zeros(4),
            nonfinite=gone,
        )
    )
    assert (row.dormant, row.silent) == (1, 3)
    assert units_of("tanh", square=np.array([np.inf, 1, 1, 1])).dormant == 0  # overflown squares compare to nothing


def test_silent_is_absolute():
    row = units_of(total=np.full(4, 1e-6), largest=np.array([0.9e-5, 1.1e-5, 0, 1]))
    assert (row.silent, row.dormant) == (2, 0)


def test_saturated_elements_and_units():
    """Of 1000 elements per unit 9, 11, 0 and 600 are in the steep part; fewer than 1 % makes a unit saturated."""
    active = np.int32([9, 11, 0, 600])
    [row] = summary_of(
        site_stats(
            site=replace(SITE, kind="tanh", shape=(1000, 4)), count=np.int32(1000), active=active, passing=active
        )
    )
    assert (row.saturated_fraction, row.saturated) == (1 - 620 / 4000, 2)
    [row] = summary_of(site_stats())
    assert (row.saturated_fraction, row.saturated) == (None, None)


@pytest.mark.parametrize("name", rx.ACTIVATIONS)
def test_the_kinds_of_which_the_mean_is_the_mean_absolute_output(name):
    """Never negative on a grid; a few are so in the registry's examples and not with every hyperparameter."""
    row = rx.ACTIVATIONS[name]
    x = np.linspace(-9, 9, 4 * 91, dtype=np.float32).reshape(4, 91)[:, :90]
    least = min(np.asarray(row.fun(x - shift, **row.example)).min() for shift in (0, 20))
    assert (least >= 0) == (name in NONNEGATIVE) or name in {"threshold", "reglu", "probact"}


def test_squares_that_overflow_leave_an_infinite_deviation():
    [row] = summary_of(site_stats(total=np.float32([np.inf, 0]), square=np.float32([np.inf, 0])))
    assert row.std == np.inf


def scanned(steps, layers, name="stack/relu", path=(2, 5), **changes):
    """Statistics with an axis per scan; every count differs from step to step."""
    site = replace(
        SITE,
        name=name,
        path=path,
        shape=(4, 2),
        executions=int(np.prod(steps)),
        steps=steps,
        layers=layers,
        scans=tuple(range(1, len(steps) + 1)),
    )
    at = np.arange(int(np.prod(steps))).reshape(steps)
    values = {
        "examples": np.full(steps, 4),
        "count": np.full(steps, 4),
        "active": np.stack([at % 5, 0 * at], -1),
        "passing": np.stack([at % 5, 0 * at], -1),
        "total": np.stack([at * 4.0, 0.0 * at], -1),
        "square": np.stack([at * at * 4.0, 0.0 * at], -1),
        "largest": np.stack([at * 1.0, 0.0 * at], -1),
        "nonfinite": np.zeros((*steps, 2), np.int32),
        "histogram": np.zeros((*steps, ACTIVE_BINS), np.int32) + at[..., None],
        "outputs": np.stack([at, 10 - at], -1),
        "signal": Signal(norm=np.stack([at * 3.0, at * 4.0], -1), zeros=np.stack([at * 1.0, 0.0 * at], -1)),
        "site": site,
    }
    return SiteStats(**(values | changes))


def test_a_scan_over_layers_is_a_row_per_layer():
    """Layer i has outputs i and 0, a signal of length 5 i over 4 examples, and i zeros of 8."""
    rows = summary_of(scanned((3,), (True,)))
    assert [row.name for row in rows] == ["stack/relu[0]", "stack/relu[1]", "stack/relu[2]"]
    assert [(row.site, row.step, row.steps) for row in rows] == [("stack/relu", (i,), (3,)) for i in range(3)]
    assert [row.mean for row in rows] == [0, 0.5, 1.0]
    assert [row.std for row in rows] == [0, 0.5, 1.0]
    assert [row.active_fraction for row in rows] == [0, 1 / 8, 2 / 8]
    assert [row.dead for row in rows] == [2, 1, 1]
    assert [row.largest for row in rows] == [0, 1, 2]
    assert [row.signal_norm for row in rows] == [0, 2.5, 5.0]
    assert [row.signal_zero_fraction for row in rows] == [0, 1 / 8, 2 / 8]
    assert [row.active_histogram[7] for row in rows] == [0, 1, 2]
    assert [row.output_histogram for row in rows] == [(0, 10), (1, 9), (2, 8)]
    assert [row.examples for row in rows] == [4, 4, 4]


def test_a_scan_over_time_is_one_row_of_sums():
    """Steps 0, 1, 2: outputs add to 12 over 24 elements, squares to 20, signals' squares to 25 (0 + 1 + 4)."""
    [row] = summary_of(scanned((3,), (False,)))
    assert (row.name, row.step, row.steps, row.executions) == ("stack/relu", (), (), 3)
    assert (row.examples, row.dead_bound) == (4, 0.75)
    assert (row.mean, row.std) == (0.5, pytest.approx(np.sqrt(20 / 24 - 0.25)))
    assert (row.active_fraction, row.dead, row.largest) == (3 / 24, 1, 2)
    assert row.signal_norm == pytest.approx(np.sqrt(25 * 5 / 4))
    assert row.signal_zero_fraction == 3 / 24
    assert row.active_histogram[7] == 3
    assert row.output_histogram == (3, 27)


def test_an_example_seen_at_some_steps_only_is_one_example():
    [row] = summary_of(scanned((2,), (False,), examples=np.int32([4, 7])))
    assert row.examples == 7


@pytest.mark.parametrize(("layers", "axis"), [((True, False), 1), ((False, True), 0)])
def test_time_inside_layers_and_layers_inside_time(layers, axis):
    stats = scanned((2, 3), layers)
    rows = summary_of(stats)
    assert [row.name for row in rows] == [f"stack/relu[{i}]" for i in range((2, 3)[1 - axis])]
    np.testing.assert_array_equal([row.largest for row in rows], np.arange(6).reshape(2, 3).max(axis))
    np.testing.assert_array_equal([row.mean * 2 * (2, 3)[axis] for row in rows], np.arange(6).reshape(2, 3).sum(axis))
    assert {row.steps for row in rows} == {((2, 3)[1 - axis],)}


def test_layers_inside_layers_have_two_numbers():
    rows = summary_of(scanned((2, 3), (True, True)))
    assert [row.name for row in rows] == [f"stack/relu[{i},{j}]" for i in range(2) for j in range(3)]
    assert [row.largest for row in rows] == list(range(6))


def test_a_scan_without_a_loss():
    rows = summary_of(scanned((2,), (True,), signal=None))
    assert [row.signal_norm for row in rows] == [None, None]


def test_how_often_a_while_loop_runs_is_not_known():
    [row] = summary_of(site_stats(site=replace(SITE, executions=None)))
    assert row.executions is None


def test_merged_scans_are_summed_layer_by_layer():
    stats = rx.Stats.of([scanned((3,), (True,))])
    rows = rx.summarize(rx.merge(stats, stats))
    assert [row.mean for row in rows] == [0, 0.5, 1.0]
    assert [row.examples for row in rows] == [8, 8, 8]


def test_the_weights_of_a_layer_are_its_slice_of_what_is_stacked():
    leaves = {"hidden/kernel": np.arange(12).reshape(3, 2, 2), "out/kernel": np.ones(2)}
    rows = summary_of(scanned((3,), (True,)))
    assert [{k: v.tolist() for k, v in row.weights_in(leaves).items()} for row in rows] == [
        {f"hidden/kernel[{i}]": [[4 * i, 4 * i + 1], [4 * i + 2, 4 * i + 3]]} for i in range(3)
    ]
    shared = {"hidden/kernel": np.ones((2, 2))}  # not stacked: every layer uses all of it
    assert [list(row.weights_in(shared)) for row in rows] == [["hidden/kernel"]] * 3
    [row] = summary_of(scanned((3,), (False,)))
    assert list(row.weights_in(leaves)) == ["hidden/kernel"]
    assert row.weights_in({}) == {}


def test_sites_of_one_scan_take_turns_where_they_say_where_it_stands():
    """Two sites in a scan of two layers, at equation 2 of the jit at 1; a site before them, one after."""

    def site(path, layers=(True,), scans=(2,)):
        return replace(SITE, path=path, layers=layers, scans=scans)

    a, b = site((1, 2, 0)), site((1, 2, 4, 7))
    ran = [(site((1, 1), (), ()), ()), (a, (0,)), (b, (0,)), (a, (1,)), (b, (1,)), (site((1, 3), (), ()), ())]
    keys = [one.order(step) for one, step in ran]
    assert keys == sorted(keys)
    inner = site((1, 2, 4, 0), (True, True), (2, 3))
    assert inner.order((5, 6)) == (1, 2, 5, 4, 6, 0)
    assert site((1, 2, 4, 0), (False, True), (2, 3)).order((6,)) == (1, 2, 4, 6, 0)


def test_a_branch_that_was_not_taken_is_no_row_but_listed():
    def model(x):
        x = rx.relu(x)
        x = jax.lax.cond(x.sum() > 1e9, rx.tanh, lambda x: x, x)
        return rx.relu(2 * x).sum()

    _, stats = rx.probe_grad(model, gains=True)(jnp.ones((4, 3), jnp.float32))
    summary = rx.summarize(stats)
    assert [row.name for row in summary] == ["relu", "relu_1"]
    [part] = summary.opaque
    assert (part.primitive, part.kinds, part.reason) == ("tanh", ("tanh",), "tanh did not run")
    assert part.source.startswith(__file__)
    # 2 x and the slope of one: the gain between the two that did run.
    assert (summary[1].activation_gain, summary[1].weight_gain) == pytest.approx((1.0, 2.0), rel=1e-6)
    assert "not measured, and are not in this table: 1" in str(summary)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_in_it(shape):
    _, stats = rx.probe_grad(lambda x: rx.relu(x).sum(), gains=True)(jnp.ones(shape, jnp.float32))
    summary = rx.summarize(stats)
    assert not len(summary)
    assert [part.reason for part in summary.opaque] == ["relu has no units" if shape[0] else "relu did not run"]
    assert not rx.alarms(summary)


def test_a_scan_of_no_steps():
    def model(w, x):
        return jax.lax.scan(lambda h, w: (rx.relu(h @ w), None), x, w)[0].sum()

    for w in (jnp.ones((0, 3, 3), jnp.float32), {"w": jnp.ones((0, 3, 3), jnp.float32)}):
        fun = model if isinstance(w, jax.Array) else lambda w, x: model(w["w"], x)
        _, stats = rx.probe_grad(fun)(w, jnp.ones((4, 3), jnp.float32))
        assert not len(rx.summarize(stats))
