"""What everybody says of ReLU, tested: experiments, error bars, and verdicts that follow from the numbers.

Needs the ``report`` extra: flax, optax, and scikit-learn for the handwritten digits that it ships.
"""

from ._claim import Claim as Claim
from ._findings import SCHEMA as SCHEMA, Finding as Finding, Findings as Findings
from ._page import page as page
from ._rule import Condition as Condition, Criterion as Criterion, judge as judge, outcomes as outcomes
from ._run import CLAIMS as CLAIMS, SEEDS as SEEDS, each as each, names as names, run as run
from ._terminal import show as show, show_one as show_one
