"""The rectifier family: one file per kin group, one registry row per activation."""

from ._by_channel import *
from ._exponential import *
from ._gated import *
from ._not_derivatives import *
from ._piecewise_linear import *
from ._powers import *
from ._registry import *
from ._saturating import *
from ._self_gated import *
from ._softened import *
from ._sparse import *
from ._stochastic import *
