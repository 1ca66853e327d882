"""What mean-field theory predicts, in float64 on the host."""

from ._moments import Moments as Moments, moments as moments
