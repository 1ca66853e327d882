"""What mean-field theory predicts, in float64 on the host."""

from ._moments import Moments as Moments
from ._moments import moments as moments
