"""Find the activations of any JAX function from its jaxpr and measure them, forward and backward."""

from ._find import parameter_names as parameter_names, sites as sites
from ._measure import SLOPE_FLOOR as SLOPE_FLOOR, stable_norm as stable_norm
from ._merge import merge as merge
from ._probe import capture as capture, probe as probe, probe_grad as probe_grad
from ._sites import Opaque as Opaque, Site as Site, in_order as in_order, layer_suffix as layer_suffix
from ._statistics import (
    ACTIVE_BINS as ACTIVE_BINS,
    Held as Held,
    Layout as Layout,
    Network as Network,
    Signal as Signal,
    SiteStats as SiteStats,
    Stats as Stats,
    to_host as to_host,
)
from ._storage import load as load, save as save
from ._swap import lean as lean, swap as swap
from ._watch import watch as watch
