"""The rectifier family: one file per kin group, one registry row per activation."""

from ._exponential import elu as elu
from ._piecewise_linear import leaky_relu as leaky_relu
from ._piecewise_linear import prelu as prelu
from ._piecewise_linear import relu as relu
from ._registry import ACTIVATIONS as ACTIVATIONS
from ._registry import Activation as Activation
from ._registry import activation as activation
from ._saturating import sigmoid as sigmoid
from ._saturating import tanh as tanh
