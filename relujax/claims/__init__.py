"""What everybody says of ReLU, tested: experiments, error bars, and verdicts that follow from the numbers.

Needs the ``report`` extra: flax, optax, and scikit-learn for the handwritten digits that it ships.
"""

from ._findings import Finding as Finding, Findings as Findings
from ._rule import Condition as Condition, Criterion as Criterion, judge as judge
from ._run import CLAIMS as CLAIMS, each as each, names as names, run as run
