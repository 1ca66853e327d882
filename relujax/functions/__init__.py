"""The rectifier family: one file per kin group, one registry row per activation."""

from ._exponential import *
from ._piecewise_linear import *
from ._powers import *
from ._registry import *
from ._saturating import *
from ._self_gated import *
from ._softened import *
