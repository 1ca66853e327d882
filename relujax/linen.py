"""Flax Linen twins of :mod:`relujax.nnx`, made by Flax's own bridge; they take the same arguments.

>>> import jax, jax.numpy as jnp
>>> module = PReLU(channels=2)
>>> variables = module.init(jax.random.key(0), jnp.ones((1, 2)))
>>> module.apply(variables, jnp.array([[-1.0, 2.0]])).tolist()
[[-0.25, 2.0]]
"""

import functools

from flax.nnx import bridge

from . import nnx as _nnx

_twin = functools.partial(functools.partial, bridge.to_linen, skip_rng=True)

ReLU = _twin(_nnx.ReLU)
ReLU6 = _twin(_nnx.ReLU6)
LeakyReLU = _twin(_nnx.LeakyReLU)
PReLU = _twin(_nnx.PReLU)
ELU = _twin(_nnx.ELU)
CELU = _twin(_nnx.CELU)
SELU = _twin(_nnx.SELU)
SiLU = _twin(_nnx.SiLU)
Sigmoid = _twin(_nnx.Sigmoid)
Tanh = _twin(_nnx.Tanh)
