"""Flax Linen twins of :mod:`relujax.nnx`, made by Flax's own bridge; they have the same names and arguments.

>>> import jax, jax.numpy as jnp
>>> module = PReLU(channels=2)
>>> variables = module.init(jax.random.key(0), jnp.ones((1, 2)))
>>> module.apply(variables, jnp.array([[-1.0, 2.0]])).tolist()
[[-0.25, 2.0]]
"""

import functools
import inspect
from typing import Any

from flax.nnx import bridge

from .nnx import MODULES


def _twin(module: Any) -> functools.partial:
    # Those that need no key must not ask the caller for one.
    takes_rngs = module.row.draws or "rngs" in inspect.signature(module.__init__).parameters
    return functools.partial(bridge.to_linen, module, skip_rng=not takes_rngs)


globals().update({module.__name__: _twin(module) for module in MODULES.values()})


def __getattr__(name: str) -> Any:  # for type checkers, which cannot see what is made from the registry
    names = ", ".join(module.__name__ for module in MODULES.values())
    raise AttributeError(f"module 'relujax.linen' has no attribute {name!r}: expected one of {names}")
