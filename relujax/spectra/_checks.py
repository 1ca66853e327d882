"""What the spectra ask of their arguments, with errors that say what to do."""

from typing import Any

import jax
import jax.numpy as jnp


def check_point(x: Any) -> None:
    """Refuses a point at which there is no derivative: integers, booleans, nothing at all."""
    leaves = jax.tree.leaves(x)
    if not leaves or not sum(jnp.size(leaf) for leaf in leaves):
        raise ValueError("got a point without numbers: expected a pytree of floating arrays; pass an example to it")
    for leaf in leaves:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"got a point with {dtype} numbers: expected floating ones, as a Jacobian is a derivative; convert "
                "them by x.astype('float32'), or close over what is not differentiated"
            )


def check_count(name: str, value: Any, most: int | None = None) -> None:
    """Refuses what is no whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        expected = "a whole number of at least 1" if most is None else f"a whole number from 1 to {most}"
        raise ValueError(f"got {name}={value!r}: expected {expected}; pass one, or leave it out")


def check_key(key: Any) -> None:
    """Refuses a missing random key."""
    if key is None:
        raise TypeError(
            "got no key: expected a random key as the second argument, since the method starts from random directions; "
            "pass jax.random.key(0)"
        )
