"""What mean-field theory predicts, in float64 on the host."""

from ._batch_norm import batch_norm_growth as batch_norm_growth
from ._born_dead import born_dead as born_dead
from ._correlation_map import CorrelationMap as CorrelationMap, correlation_map as correlation_map
from ._critical import Critical as Critical, critical as critical, half_stable as half_stable
from ._depth_scales import DepthScales as DepthScales, depth_scales as depth_scales
from ._find_kinks import find_kinks as find_kinks
from ._jacobian import JacobianMoments as JacobianMoments, jacobian_moments as jacobian_moments
from ._kernels import nngp as nngp, ntk as ntk
from ._length_map import length_map as length_map
from ._log_norm import LogNormLaw as LogNormLaw, log_norm_law as log_norm_law
from ._lyapunov import Lyapunov as Lyapunov, lyapunov as lyapunov
from ._moments import Moments as Moments, moments as moments
from ._regions import RegionBounds as RegionBounds, region_bounds as region_bounds, regions as regions
from ._stack_law import StackLaw as StackLaw, stack_law as stack_law
from ._tailor import Tailored as Tailored, tailor as tailor
