"""The rule of all verdicts, on numbers made up for it."""

import math

import pytest

from relujax.claims import Condition, Criterion, judge, outcomes

pytestmark = pytest.mark.own_precision

ABOVE, BELOW = Criterion(1.0, log=False), Criterion(1.0, above=False, log=False)
#: Student's t of four degrees of freedom, over the root of five.
T4 = 2.7764451 / math.sqrt(5)


def condition(values, criterion=ABOVE, name="one"):
    return Condition(name, tuple(map(float, values)), criterion)


def test_the_error_bar_is_student_s():
    effect, low, high = condition((1, 2, 3, 4, 5)).interval
    assert effect == 3
    assert (3 - low, high - 3) == pytest.approx((T4 * math.sqrt(2.5),) * 2)


def test_of_ratios_it_is_that_of_their_logarithms():
    effect, low, high = condition((0.1, 1, 10), Criterion(1.0)).interval
    half = 4.3026527 / math.sqrt(3) * math.log(10)
    assert (effect, low, high) == pytest.approx((1, math.exp(-half), math.exp(half)))


@pytest.mark.parametrize(
    ("values", "criterion", "outcome"),
    [
        ((2.0, 2.1, 1.9), ABOVE, "holds"),
        ((0.5, 0.6, 0.4), ABOVE, "fails"),
        ((0.5, 1.0, 1.5), ABOVE, "undecided"),
        ((2.0, 2.1, 1.9), BELOW, "fails"),
        ((0.5, 0.6, 0.4), BELOW, "holds"),
        ((0.5, 1.0, 1.5), BELOW, "undecided"),
        ((1.0, 1.0, 1.0), ABOVE, "undecided"),  # on the threshold, which is no side
        ((1.0, 1.0, 1.0), BELOW, "undecided"),
        ((0.0, 0.0, 0.0), BELOW, "holds"),  # without spread there is no bar
        ((2.0,), ABOVE, "undecided"),  # of one value nobody knows the spread
        ((), ABOVE, "undecided"),
        ((2.0, math.nan, 2.0), ABOVE, "undecided"),
        ((math.inf,) * 3, ABOVE, "holds"),
        ((math.inf,) * 3, Criterion(1.0), "holds"),
        ((0.0,) * 3, Criterion(1e-3, above=False), "holds"),  # a ratio that underflowed
    ],
)
def test_a_condition_is_judged_by_where_its_error_bar_lies(values, criterion, outcome):
    assert condition(values, criterion).outcome == outcome


def test_just_beyond_the_edge_it_holds_and_just_before_it_does_not():
    spread = (-2, -1, 0, 1, 2)
    half = T4 * math.sqrt(2.5)
    assert condition([1 + half + 1e-6 + s for s in spread]).outcome == "holds"
    assert condition([1 + half - 1e-6 + s for s in spread]).outcome == "undecided"
    assert condition([1 - half - 1e-6 + s for s in spread]).outcome == "fails"
    assert condition([1 - half + 1e-6 + s for s in spread]).outcome == "undecided"


@pytest.mark.parametrize("criterion", [Criterion(0.5), Criterion(0.5, above=False)])
def test_the_margin_is_above_one_where_the_claim_holds(criterion):
    for values in ((0.1, 0.11, 0.09), (2.0, 2.2, 1.8), (0.4, 0.5, 0.6)):
        one = condition(values, criterion)
        effect, low, high = one.margin
        assert low <= effect <= high
        assert one.outcome == ("holds" if low > 1 else "fails" if high < 1 else "undecided")


def test_splits_of_the_same_images_make_the_error_bar_wider():
    values = (1.0, 2.0, 3.0, 4.0, 5.0)
    alone, shared = (Condition("one", values, Criterion(0.9, log=False), overlap) for overlap in (0.0, 0.25))
    half = {one: one.effect - one.interval[1] for one in (alone, shared)}
    assert half[shared] / half[alone] == pytest.approx(1.5)  # the root of (1/5 + 1/4) over 1/5
    assert (alone.outcome, shared.outcome) == ("holds", "undecided")


def test_ratios_beyond_what_is_read_are_zero_and_infinite():
    assert condition((0.0,) * 3, Criterion(1.0)).interval == (0, 0, 0)
    assert condition((math.inf,) * 3, Criterion(1.0)).interval == (math.inf,) * 3
    assert condition((1e-29,) * 3, Criterion(1.0)).interval == pytest.approx((1e-29,) * 3)


def test_the_p_value_is_that_of_the_t_test():
    # Of four degrees of freedom: P(|t| > 2.7764451) is 0.05, and the mean lies that many standard errors off.
    assert condition((1, 2, 3, 4, 5), Criterion(3 - T4 * math.sqrt(2.5), log=False)).p_value == pytest.approx(0.05)
    assert condition((1, 2, 3, 4, 5), Criterion(3.0)).p_value < 1
    assert condition((1, 1, 1)).p_value == condition((2,)).p_value == condition((math.nan, 2)).p_value == 1
    assert condition((2, 2, 2)).p_value == 0


def test_conditions_are_corrected_for_their_number_by_holm_s_method():
    at = {name: condition([2 + c * s for s in (-2, -1, 0, 1, 2)]) for name, c in (("0.01", 0.307), ("0.04", 0.474))}
    for name, one in at.items():
        assert one.p_value == pytest.approx(float(name), rel=0.02)
        assert one.outcome == "holds"
    sure, unsure = at["0.01"], at["0.04"]
    # 0.01 is below 0.05 / 2, and then 0.04 below 0.05 / 1; of three, 0.04 stands against 0.05 / 2.
    assert outcomes([unsure, sure]) == ("holds", "holds")
    assert outcomes([unsure, sure, unsure]) == ("undecided", "holds", "undecided")
    # Of six, 0.01 stands against 0.05 / 6.
    assert set(outcomes([sure] * 6)) == {"undecided"}
    assert judge([unsure, sure, unsure])[0] == "holds only when"


def test_a_difference_gives_a_factor_of_ten_for_every_tenth():
    effect, low, high = condition((0.1, 0.1, 0.1), Criterion(0.0, log=False)).margin
    assert (effect, low, high) == pytest.approx((10,) * 3)
    assert condition((-0.1, -0.1, -0.1), Criterion(0.0, log=False)).margin[0] == pytest.approx(0.1)
    assert condition((-0.1, -0.1, -0.1), Criterion(0.0, log=False)).outcome == "fails"


HOLDS, FAILS, OPEN = (2.0, 2.0, 2.1), (0.2, 0.2, 0.1), (0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("conditions", "kind", "held"),
    [
        ([HOLDS], "holds", ("0",)),
        ([HOLDS, HOLDS], "holds", ("0", "1")),
        ([FAILS], "does not hold", ()),
        ([FAILS, FAILS], "does not hold", ()),
        ([OPEN], "undecided", ()),
        ([OPEN, OPEN], "undecided", ()),
        ([FAILS, OPEN], "does not hold", ()),
        ([HOLDS, FAILS], "holds only when", ("0",)),
        ([FAILS, OPEN, HOLDS], "holds only when", ("2",)),
        ([HOLDS, OPEN], "holds only when", ("0",)),
    ],
)
def test_a_verdict_is_that_of_all_conditions(conditions, kind, held):
    assert judge([condition(values, name=str(i)) for i, values in enumerate(conditions)]) == (kind, held)


@pytest.mark.parametrize(("threshold", "log"), [(0.0, True), (-1.0, True), (-1.0, False), (math.nan, False)])
def test_a_threshold_that_nothing_can_be_compared_with_is_refused(threshold, log):
    with pytest.raises(
        ValueError, match=f"got threshold={threshold}.*: expected a number above 0, or 0 with log=False"
    ):
        Criterion(threshold, log=log)


def test_without_conditions_there_is_no_verdict():
    with pytest.raises(ValueError, match="got no conditions: expected at least one"):
        judge([])
