"""Alarms: each rule on both sides of its threshold, on rows that are written down."""

import math
from dataclasses import replace

import pytest

import relujax as rx
from relujax.health import SiteSummary, travel

ROW = SiteSummary(
    name="0/relu",
    kind="relu",
    source="model.py:10",
    shape=(8, 40),
    dtype="float32",
    units=40,
    executions=1,
    examples=1000,
    active_fraction=0.5,
    dead=0,
    dead_bound=0.003,
    mean=0.0,
    std=1.0,
    largest=3.0,
    nonfinite=0,
    active_histogram=(0,) * 20,
)


def stack(*changes):
    """A summary with a row per dict of changes; row ``i`` is called ``i/relu``, on line ``10 + i``."""
    rows = [replace(ROW, name=f"{i}/relu", source=f"model.py:{10 + i}", **c) for i, c in enumerate(changes)]
    return rx.Summary(tuple(rows))


def fired(*changes):
    return {alarm.rule: alarm for alarm in rx.alarms(stack(*changes))}


def signals(*norms):
    return [{"signal_norm": norm, "signal_zero_fraction": 0.5} for norm in norms]


def weights(*norms):
    """The signal holds, and the weight gradients are these."""
    return [{"signal_norm": 1.0, "signal_zero_fraction": 0.5, "weight_gradient_norm": norm} for norm in norms]


def test_quiet_where_nothing_is_wrong():
    assert rx.alarms(stack({}, {}, {})) == ()
    assert rx.alarms(rx.Summary(())) == ()


def test_a_gradient_that_arrives_is_told_as_information():
    [alarm] = rx.alarms(stack(*weights(0.5, 1.0, 1.0)))
    assert (alarm.rule, alarm.severity) == ("gradient travel", "info")
    assert "the signal holds over depth" in alarm.message
    assert "the first layer's weight gradient is 0.5 of the last one's" in alarm.message


@pytest.mark.parametrize(("ratio", "rule"), [(0.99e-3, "vanishing gradient"), (1.01e-3, "gradient travel")])
@pytest.mark.parametrize("rows", [signals, weights])
def test_a_gradient_vanishes_below_a_thousandth(rows, ratio, rule):
    found = fired(*rows(ratio, 0.5, 1.0))
    assert list(found) == [rule]


@pytest.mark.parametrize(("ratio", "rule"), [(70.5, "exploding gradient"), (69.5, "gradient travel")])
@pytest.mark.parametrize("rows", [signals, weights])
def test_a_gradient_explodes_above_seventy(rows, ratio, rule):
    found = fired(*rows(ratio, 5.0, 1.0))
    assert list(found) == [rule]


def test_vanishing_says_how_fast_from_where_and_what_helps():
    changes = [
        {"signal_norm": norm, "signal_zero_fraction": 0.0, "weight_gradient_norm": norm / 2}
        for norm in (1.6e-5, 4e-4, 1e-2, 0.25)
    ]
    alarm = fired(*changes)["vanishing gradient"]
    assert (alarm.severity, alarm.site, alarm.source) == ("critical", "0/relu", "model.py:10")
    assert "0/relu" in alarm.message
    assert "the signal shrinks 25x per layer" in alarm.message
    assert "the first layer's weight gradient is 6e-05 of the last one's" in alarm.message
    assert "He initialisation" in alarm.remedy
    assert "AUTOTRAINER" in alarm.reference


def test_exploding_says_how_fast():
    alarm = fired(*signals(1000.0, 100.0, 10.0, 1.0))["exploding gradient"]
    assert (alarm.severity, alarm.site, alarm.source) == ("critical", "0/relu", "model.py:10")
    assert "the signal grows 10x per layer" in alarm.message
    assert "the first layer's backpropagated signal is 1e+03 times the last one's" in alarm.message


def test_a_gradient_that_does_not_arrive_at_all_has_vanished():
    alarm = fired(*signals(0.0, 0.0, 1.0))["vanishing gradient"]
    assert "no signal arrives" in alarm.message


def test_a_gradient_of_zero_everywhere_is_not_said_to_hold():
    found = fired(*signals(0.0, 0.0, 0.0))
    assert not any("holds" in alarm.message for alarm in found.values()), found
    assert (found["no gradient"].severity, found["no gradient"].site) == ("critical", "2/relu")


def test_a_gradient_that_stops_on_its_way_is_critical_whatever_the_weights_show():
    """The last layer is dead: its own weights get nothing, and what it passes on is nothing."""
    changes = signals(0.0, 0.0, 1.0)
    for change in changes:
        change["weight_gradient_norm"] = 0.0
    assert "vanishing gradient" in fired(*changes)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["signal_norm", "weight_gradient_norm"])
def test_a_gradient_that_is_not_finite_is_critical(field, value):
    """The outputs may well be finite: sqrt at 0, or an overflow on the way back."""
    changes = weights(1.0, 1.0, 1.0)
    changes[1] |= {field: value}
    changes[0] |= {field: value}
    found = rx.alarms(stack(*changes))
    assert [alarm.severity for alarm in found[:1]] == ["critical"], found
    assert found[0].site == ("0/relu" if found[0].rule == "exploding gradient" else "1/relu")
    assert not any("holds" in alarm.message or "nan" in alarm.message for alarm in found)


@pytest.mark.parametrize(
    ("dead", "severity"), [(0, None), (4, None), (5, "warning"), (20, "warning"), (21, "critical"), (40, "critical")]
)
def test_dead_units_beyond_ten_percent_and_beyond_half(dead, severity):
    alarm = fired({}, {"dead": dead}, {}).get("dead units")
    assert (alarm and alarm.severity) == severity


def test_dead_units_name_the_first_layer_and_the_worst():
    alarm = fired({"dead": 1}, {"dead": 7}, {}, {"dead": 30})["dead units"]
    assert (alarm.severity, alarm.site, alarm.source) == ("critical", "1/relu", "model.py:11")
    assert alarm.message.startswith("1/relu: 7 of 40 units are dead")
    assert "on any of 1000 examples" in alarm.message
    assert "worst is 3/relu with 30 of 40" in alarm.message
    assert "2 layers are beyond 10 %" in alarm.message
    assert "CS231n" in alarm.reference


def test_one_layer_of_dead_units_is_its_own_worst():
    message = fired({}, {"dead": 7})["dead units"].message
    assert "worst" not in message
    assert "layers" not in message


def test_the_first_layer_that_is_not_finite_is_named():
    alarm = fired({}, {"nonfinite": 3}, {"nonfinite": 400})["non-finite"]
    assert (alarm.severity, alarm.site, alarm.source) == ("critical", "1/relu", "model.py:11")
    assert alarm.message.startswith("1/relu: 3 outputs are NaN or infinite")


@pytest.mark.parametrize(("mean", "fires"), [(0.99, False), (1.01, True), (-0.99, False), (-1.01, True)])
def test_a_mean_beyond_half_a_deviation_is_told(mean, fires):
    found = fired({"std": 2.0}, {"mean": mean, "std": 2.0})
    assert ("not zero-centred" in found) == fires
    if fires:
        alarm = found["not zero-centred"]
        assert (alarm.severity, alarm.site, alarm.source) == ("info", "1/relu", "model.py:11")
        assert f"{mean:.2g}, 0.5 standard deviations" in alarm.message


def test_the_layer_furthest_from_zero_is_named():
    alarm = fired({"mean": 0.6}, {"mean": -2.0}, {"mean": 5.0, "std": 10.0})["not zero-centred"]
    assert alarm.message == "1/relu: the mean output is -2, 2.0 standard deviations from 0"


def test_a_constant_output_divides_by_nothing():
    [alarm] = fired({"mean": 1.0, "std": 0.0}).values()
    assert alarm.message == "0/relu: the mean output is 1, inf standard deviations from 0"


def test_the_most_severe_comes_first():
    changes = signals(1e-9, 1e-5, 1.0)
    changes[1] |= {"dead": 6, "mean": 3.0}
    changes[2] |= {"nonfinite": 1}
    found = rx.alarms(stack(*changes))
    assert [alarm.severity for alarm in found] == ["critical", "critical", "warning", "info"]
    assert {alarm.rule for alarm in found[:2]} == {"non-finite", "vanishing gradient"}


def test_every_alarm_says_what_helps_and_where_its_threshold_comes_from():
    bad = [*signals(1e-9, 1.0), {"dead": 30, "mean": 3.0, "nonfinite": 1}]
    found = [alarm for rows in (bad, signals(100.0, 1.0), signals(1.0, 1.0)) for alarm in rx.alarms(stack(*rows))]
    assert len({alarm.rule for alarm in found}) == 6
    for alarm in found:
        assert alarm.message
        assert alarm.remedy
        assert alarm.reference
        assert alarm.site


def test_travel_is_a_ratio_and_a_factor_per_layer():
    way = travel(stack(*signals(1e-4, 1e-2, 7.0, 1e-1)))
    assert way.quantity == "backpropagated signal"
    assert way.ratio == pytest.approx(1e-3)
    assert way.per_layer == pytest.approx(0.1)
    assert (way.first.name, way.last.name) == ("0/relu", "3/relu")


def test_travel_compares_weight_gradients_where_they_are_known():
    changes = signals(0.25, 0.5, 1.0, 2.0)
    changes[1] |= {"weight_gradient_norm": 3.0}
    changes[2] |= {"weight_gradient_norm": 6.0}
    way = travel(stack(*changes))
    assert way.quantity == "weight gradient"
    assert way.ratio == 0.5
    assert way.per_layer == pytest.approx(0.5)
    assert (way.first.name, way.last.name) == ("1/relu", "2/relu")


def test_travel_needs_a_signal_at_two_sites():
    assert travel(stack({}, {})) is None
    assert travel(stack(*signals(1.0))) is None
    assert travel(stack({}, *signals(1.0))) is None


def test_without_a_gradient_at_the_last_layer_nothing_travels():
    summary = stack(*signals(1.0, 0.0))
    assert travel(summary) is None
    [alarm] = rx.alarms(summary)
    assert (alarm.rule, alarm.severity, alarm.site) == ("no gradient", "critical", "1/relu")
