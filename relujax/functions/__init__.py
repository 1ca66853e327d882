"""The rectifier family: one file per kin group, one registry row per activation."""

from ._exponential import elu as elu
from ._piecewise_linear import leaky_relu as leaky_relu, prelu as prelu, relu as relu
from ._registry import ACTIVATIONS as ACTIVATIONS, Activation as Activation, activation as activation
from ._saturating import sigmoid as sigmoid, tanh as tanh
