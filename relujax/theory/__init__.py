"""What mean-field theory predicts, in float64 on the host."""

from ._correlation_map import CorrelationMap as CorrelationMap, correlation_map as correlation_map
from ._critical import Critical as Critical, critical as critical, half_stable as half_stable
from ._depth_scales import DepthScales as DepthScales, depth_scales as depth_scales
from ._find_kinks import find_kinks as find_kinks
from ._kernels import nngp as nngp, ntk as ntk
from ._length_map import length_map as length_map
from ._moments import Moments as Moments, moments as moments
from ._stack import StackLaw as StackLaw, stack_law as stack_law
from ._tailor import Tailored as Tailored, tailor as tailor
