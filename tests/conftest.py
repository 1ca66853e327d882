"""Strictness for every test: no silent promotion of dtypes or ranks; with and without x64 by environment."""

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
