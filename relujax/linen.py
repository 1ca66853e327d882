"""Flax Linen twins of :mod:`relujax.nnx`, made by Flax's own bridge; they have the same names and arguments.

>>> import jax, jax.numpy as jnp
>>> module = PReLU(channels=2)
>>> variables = module.init(jax.random.key(0), jnp.ones((1, 2)))
>>> module.apply(variables, jnp.array([[-1.0, 2.0]])).tolist()
[[-0.25, 2.0]]
"""

import functools
from typing import Any

from flax.nnx import bridge

from .nnx import MODULES

globals().update(
    {module.__name__: functools.partial(bridge.to_linen, module, skip_rng=True) for module in MODULES.values()}
)


def __getattr__(name: str) -> Any:  # for type checkers, which cannot see what is made from the registry
    names = ", ".join(module.__name__ for module in MODULES.values())
    raise AttributeError(f"module 'relujax.linen' has no attribute {name!r}: expected one of {names}")
