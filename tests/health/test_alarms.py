"""Alarms: each rule on both sides of its threshold, on rows that are written down."""

import copy
import math
import pickle
from dataclasses import replace

import jax.numpy as jnp
import pytest

import relujax as rx
from relujax.health import Alarms, SiteSummary, Skipped, not_checked, travel

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


CUT = {"signal_norm": 0.0, "signal_zero_fraction": 1.0, "reached": False}


@pytest.mark.parametrize("changes", [[CUT, CUT, *signals(2.0, 1.0)], [*signals(2.0, 1.0), CUT, CUT]])
def test_layers_behind_a_stop_gradient_have_no_part_in_the_travel(changes):
    """Those of a target network, before or after the layers that are trained."""
    found = fired(*changes)
    assert set(found) == {"cut off", "gradient travel"}
    assert "the first layer's backpropagated signal is 2 times the last one's" in found["gradient travel"].message
    alarm = found["cut off"]
    assert (alarm.severity, alarm.site) == ("info", f"{changes.index(CUT)}/relu")
    assert alarm.message.endswith("only behind stop_gradient or whole numbers; so it is with 2 layers")
    assert "target network" in alarm.remedy


def test_a_rule_that_cannot_run_without_a_loss_is_listed():
    _, stats = rx.probe(rx.relu)(jnp.ones((4, 2)))
    assert ("cut off", "no loss was given") in {(s.rule, s.reason) for s in rx.alarms(rx.summarize(stats)).skipped}


def test_a_layer_with_weights_that_is_cut_off_is_a_warning():
    cut = CUT | {"weights": ("a/kernel",), "weight_gradient_norm": 0.0, "weight_gradient_mean": 0.0}
    found = fired(cut, *signals(2.0, 1.0))
    assert {rule: alarm.severity for rule, alarm in found.items()} == {"cut off": "warning", "gradient travel": "info"}


def test_where_all_layers_are_cut_off_no_gradient_arrives():
    assert {rule: alarm.severity for rule, alarm in fired(CUT, CUT).items()} == {"no gradient": "critical"}


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


def test_dead_units_say_what_the_examples_bound():
    alarm = fired({"dead": 7})["dead units"]
    assert "so on at most 0.3 % of such examples (3/n, 95 % confidence)" in alarm.message


@pytest.mark.parametrize(("examples", "bound", "told"), [(3, 1.0, False), (4, 0.75, True)])
def test_three_examples_bound_nothing(examples, bound, told):
    found = rx.alarms(stack({"dead": 40, "examples": examples, "dead_bound": bound}))
    assert ("dead units" in {alarm.rule for alarm in found}) == told
    reason = f"{examples} examples were seen, and the bound 3/n takes at least 4"
    assert (Skipped("dead units", reason) in found.skipped) != told
    assert (Skipped("born-dead network", reason) in found.skipped) != told


@pytest.mark.parametrize(("dead", "fires"), [(39, False), (40, True)])
def test_a_network_is_dead_where_a_whole_layer_is(dead, fires):
    found = fired({}, {"dead": dead}, {"dead": 40 if fires else 0})
    assert ("born-dead network" in found) == fires
    if fires:
        alarm = found["born-dead network"]
        assert (alarm.severity, alarm.site, alarm.source) == ("critical", "1/relu", "model.py:11")
        assert alarm.message.startswith("1/relu: every unit of this layer is dead on all of 1000 examples")
        assert alarm.message.endswith("unless a path leads around it")
        assert "1903.06733" in alarm.reference


def test_no_signal_before_a_dead_layer_shows_that_no_path_leads_around_it():
    changes = signals(0.0, 0.0, 1.0)
    changes[1]["dead"] = 40
    assert "unless" not in fired(*changes)["born-dead network"].message
    changes[0]["signal_norm"] = 1e-30
    assert "born-dead network" not in fired(*changes)


def test_a_saturated_layer_is_not_a_born_dead_one():
    assert "born-dead network" not in fired({"kind": "tanh", "dead": 40})


@pytest.mark.parametrize(
    ("dormant", "severity"), [(4, None), (5, "info"), (20, "info"), (21, "warning"), (40, "warning")]
)
def test_dormant_units_beyond_ten_percent_and_beyond_half(dormant, severity):
    assert {alarm.rule: alarm.severity for alarm in rx.alarms(stack({}, {"dormant": dormant}, {}))} == (
        {"dormant units": severity} if severity else {}
    )


@pytest.mark.parametrize(("dormant", "fires"), [(4, False), (5, True)])
def test_dormant_units_name_the_first_layer_and_the_worst(dormant, fires):
    found = fired({}, {"dormant": dormant}, {"dormant": 9} if fires else {})
    assert set(found) == ({"dormant units"} if fires else set())
    if fires:
        alarm = found["dormant units"]
        assert (alarm.severity, alarm.site, alarm.source) == ("info", "1/relu", "model.py:11")
        assert alarm.message == (
            "1/relu: 5 of 40 units are dormant: their output is at most 0.025 of the layer's mean; worst is 2/relu "
            "with 9 of 40; 2 layers are beyond 10 %"
        )
        assert "2302.12902" in alarm.reference


def test_dormant_units_that_are_all_dead_are_told_once():
    assert list(fired({"dead": 6, "dormant": 6})) == ["dead units"]
    assert "(5 are dead)" in fired({"dead": 5, "dormant": 6})["dormant units"].message


@pytest.mark.parametrize(("silent", "fires"), [(20, False), (21, True)])
def test_silent_units_beyond_half(silent, fires):
    found = fired({}, {"silent": silent})
    assert set(found) == ({"dormant units, absolute"} if fires else set())
    if fires:
        alarm = found["dormant units, absolute"]
        assert (alarm.severity, alarm.site, alarm.source) == ("warning", "1/relu", "model.py:11")
        assert alarm.message == "1/relu: 21 of 40 units never reach 1e-5 in absolute output"
        assert "TheDeepChecker" in alarm.reference
    assert "dormant units, absolute" not in fired({"silent": silent, "dead": silent})


@pytest.mark.parametrize(
    ("fraction", "units", "severity"),
    [(0.5, 20, None), (0.51, 20, "warning"), (0.51, 21, "critical"), (0.4999, 21, "critical"), (0.0, 0, None)],
)
def test_saturated_beyond_half(fraction, units, severity):
    tanh = {"kind": "tanh", "saturated_fraction": 0.1, "saturated": 0}
    found = fired(tanh, tanh | {"saturated_fraction": fraction, "saturated": units}, {})
    assert set(found) == ({"saturated"} if severity else set())
    if severity:
        alarm = found["saturated"]
        assert (alarm.severity, alarm.site, alarm.source) == (severity, "1/relu", "model.py:11")
        assert alarm.message == (
            f"1/relu: {fraction:.0%} of the outputs are saturated, and {units} of 40 units on more than 99 % of what "
            "was seen"
        )
        assert "SaturatedActivation" in alarm.reference


def means(*values):
    """The signal and the norms hold, and the mean absolute weight gradients are these."""
    return [
        change | {"weight_gradient_mean": v} for change, v in zip(weights(*[1.0] * len(values)), values, strict=True)
    ]


@pytest.mark.parametrize(("value", "rule"), [(0.99e-6, "small gradient"), (1.01e-6, None), (0.0, "small gradient")])
def test_a_uniformly_small_gradient(value, rule):
    found = fired(*means(1e-3, value, 1.0))
    assert set(found) == {"gradient travel"} | ({rule} if rule else set())
    if rule:
        alarm = found[rule]
        assert (alarm.severity, alarm.site, alarm.source) == ("warning", "1/relu", "model.py:11")
        assert f"1/relu: a weight's gradient is {value:.2g} on average, below 1e-6" in alarm.message
        assert "TheDeepChecker" in alarm.reference
        assert "loss's scale" in alarm.reference


@pytest.mark.parametrize(("value", "rule"), [(0.99e6, None), (1.01e6, "large gradient"), (math.inf, None)])
def test_a_uniformly_large_gradient(value, rule):
    found = fired(*means(1e3, value, 1.0))
    assert set(found) == {"gradient travel"} | ({rule} if rule else set())
    if rule:
        assert (found[rule].severity, found[rule].site, found[rule].source) == ("warning", "1/relu", "model.py:11")


def test_what_the_ratio_says_already_is_not_said_again():
    gone, burst = signals(1e-9, 1.0), signals(1e9, 1.0)
    gone[0] |= {"weight_gradient_mean": 1e-9}
    burst[0] |= {"weight_gradient_mean": 1e9}
    assert list(fired(*gone)) == ["vanishing gradient"]
    assert list(fired(*burst)) == ["exploding gradient"]
    nothing = [change | {"weight_gradient_mean": 0.0} for change in signals(0.0, 0.0)]
    assert list(fired(*nothing)) == ["no gradient"]


def skipped(*changes):
    return {one.rule: one.reason for one in rx.alarms(stack(*changes)).skipped}


def test_rules_that_could_not_run_are_listed_with_the_reason():
    found = skipped({}, {})
    assert set(found) == {
        *("non-finite gradient", "no gradient", "vanishing gradient", "exploding gradient"),
        *("small gradient", "large gradient", "cut off", "saturated", "update/weight ratio"),
    }
    assert {found[rule] for rule in found if "gradient" in rule or rule == "cut off"} == {"no loss was given"}
    assert found["saturated"] == "no activation saturates"
    assert found["update/weight ratio"] == "no params and updates were given"


def test_a_rule_that_was_kept_from_running_twice_is_named_once():
    one, other = Skipped("a", "of this"), Skipped("b", "of this")
    assert not_checked([one, Skipped("c", "of that"), other, one]) == (
        "not checked, of this: a, b",
        "not checked, of that: c",
    )


def test_every_rule_that_ran_is_not_listed():
    rows = [change | {"kind": "tanh", "saturated_fraction": 0.0, "saturated": 0} for change in means(1.0, 1.0)]
    assert set(skipped(*rows)) == {"update/weight ratio"}


def test_why_a_rule_about_gradients_could_not_run():
    assert skipped(*signals(1.0))["vanishing gradient"].startswith("the gradient was measured at one activation")
    assert skipped(*signals(1.0, 0.0))["exploding gradient"] == "no finite gradient leaves the last activation"
    assert skipped(*signals(1.0, 1.0))["small gradient"].startswith("no gradients of weights were measured")


def test_of_an_empty_summary_no_rule_can_run():
    found = rx.alarms(rx.Summary(()))
    assert {one.reason for one in found.skipped} == {"no activation was measured", "no params and updates were given"}
    assert len(found.skipped) == 15


def test_alarms_are_a_tuple_that_knows_more():
    found = rx.alarms(stack({"dead": 5}, {"nonfinite": 1}))
    assert isinstance(found, tuple)
    assert found == tuple(found)
    assert hash(found) == hash(tuple(found))
    assert [alarm.severity for alarm in found] == ["critical", "warning"]
    assert Alarms(reversed(found)) == found
    for twin in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert (twin, twin.skipped) == (found, found.skipped)
    lines = str(found).splitlines()
    assert lines[0].startswith("[critical] 1/relu: 1 outputs are NaN or infinite")
    assert "not checked, no params and updates were given: update/weight ratio" in lines
    assert len(lines) == 5
