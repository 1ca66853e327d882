"""What mean-field theory predicts, in float64 on the host."""

from ._batch_norm import batch_norm_growth as batch_norm_growth
from ._born_dead import born_dead as born_dead
from ._jacobian import JacobianMoments as JacobianMoments, jacobian_moments as jacobian_moments
from ._log_norm import LogNormLaw as LogNormLaw, log_norm_law as log_norm_law
from ._lyapunov import Lyapunov as Lyapunov, lyapunov as lyapunov
from ._moments import Moments as Moments, moments as moments
from ._regions import RegionBounds as RegionBounds, region_bounds as region_bounds, regions as regions
