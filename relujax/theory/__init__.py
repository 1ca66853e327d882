"""What mean-field theory predicts, in float64 on the host."""

from ._moments import Moments as Moments, moments as moments
from ._stack import StackLaw as StackLaw, stack_law as stack_law
