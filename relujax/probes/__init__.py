"""Find the activations of any JAX function from its jaxpr and measure them, forward and backward."""

from ._probe import capture as capture
from ._probe import probe as probe
from ._probe import probe_grad as probe_grad
from ._sites import (
    Opaque as Opaque,
)
from ._sites import (
    Site as Site,
)
from ._sites import (
    parameter_names as parameter_names,
)
from ._sites import (
    sites as sites,
)
from ._statistics import (
    ACTIVE_BINS as ACTIVE_BINS,
)
from ._statistics import (
    SLOPE_FLOOR as SLOPE_FLOOR,
)
from ._statistics import (
    Signal as Signal,
)
from ._statistics import (
    SiteStats as SiteStats,
)
from ._statistics import (
    Stats as Stats,
)
from ._statistics import (
    merge as merge,
)
from ._statistics import (
    stable_norm as stable_norm,
)
from ._statistics import (
    to_host as to_host,
)
