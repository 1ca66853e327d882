"""The rectifier family: one file per kin group, one registry row per activation."""

from ._exponential import celu as celu, elu as elu, selu as selu
from ._piecewise_linear import leaky_relu as leaky_relu, prelu as prelu, relu as relu, relu6 as relu6
from ._registry import ACTIVATIONS as ACTIVATIONS, Activation as Activation, activation as activation
from ._saturating import sigmoid as sigmoid, tanh as tanh
from ._self_gated import silu as silu
