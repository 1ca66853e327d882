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


def check_outputs(out: Any) -> None:
    """Refuses complex outputs, of whose derivative reverse mode sees a part, and outputs without a derivative."""
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(out)]
    split = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.complexfloating)]
    none = dtypes if not any(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes) else []
    for dtype in split or none:
        raise TypeError(
            f"got outputs of {dtype} numbers: expected floating ones, as a Jacobian is a real derivative; of complex "
            "ones return jnp.stack([y.real, y.imag]), which has the same singular values"
        )


def check_key(key: Any) -> None:
    """Refuses a missing random key."""
    if key is None:
        raise TypeError(
            "got no key: expected a random key as the second argument, since the method starts from random directions; "
            "pass jax.random.key(0)"
        )
