"""Spectra beside what one would write by hand: plain ``jax.jacrev`` + ``jnp.linalg.svd``, a chain of GEMMs, matfree.

The depth that a stack reaches is checked against mpmath: an exact product of 1,000 layers, decomposed with 1,400 digits
(a minute). Times are of this machine and BLAS; the ratios are of interleaved rounds. OpenBLAS's threads, which only the
factorisations use, wait for each other where other processes run on the same cores: hence one.

OPENBLAS_NUM_THREADS=1 python -m benchmarks.spectra
"""

import importlib
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import relujax as rx

from ._common import finish
from ._timing import decided, normal
from .exact_products import exact_log_singular_values, layer_jacobians

SLOPE = 0.2


def leaky_stack(width: int, depth: int, seed: int, growth: float = 0.0) -> jax.Array:
    """Gaussian weights that hold the signal of a wide net; a narrow one loses ``growth`` nats per layer."""
    scale = (2 / (1 + SLOPE**2) / width) ** 0.5 * np.exp(growth)
    return normal(seed, (depth, width, width)) * np.float32(scale)


def layer(h: jax.Array, w: jax.Array) -> jax.Array:
    return rx.leaky_relu(w @ h, SLOPE)


def in_float64(weights: jax.Array, x: jax.Array) -> np.ndarray:
    """The same network's, by the same algorithm."""
    with jax.enable_x64(True):
        slope = np.float64(np.float32(SLOPE))
        stack = rx.Scan(lambda h, w: rx.leaky_relu(w @ h, slope), jnp.asarray(np.float64(weights)))
        return np.asarray(jax.jit(rx.stack_spectrum(stack, interval=1))(jnp.asarray(np.float64(x))))


def precision() -> list[tuple[dict[str, Any], dict[str, bool]]]:
    """Width 16, depth 1,000, eight networks: errors of all values, in nats.

    The truth is the same algorithm in float64, itself checked against mpmath on the first network. The layer nearest to
    singular decides how far the smallest values are off.
    """
    errors, plain, spread = [], [], 0.0
    for seed in range(8):
        weights, x = leaky_stack(16, 1000, 2 * seed + 1, growth=0.08), normal(2 * seed + 2, (16,))
        found, without = (
            np.asarray(jax.jit(rx.stack_spectrum(rx.Scan(layer, weights), compensated=compensated))(x))
            for compensated in (None, False)
        )
        want = in_float64(weights, x)
        if seed == 0:
            true = exact_log_singular_values(layer_jacobians(np.asarray(weights), np.asarray(x), SLOPE), digits=1400)
            of_truth, of_first = (float(np.abs(values - true).max()) for values in (want, found))
            spread = float(true[0] - true[-1])
        errors.append(np.abs(found - want).max())
        plain.append(np.abs(without - want).max())
    what = f"1,000 layers, {spread:.0f} nats"
    return [
        bounded(f"{what}: error of float64", "mpmath", of_truth, 1e-9),
        bounded(f"{what}: the first network's largest error", "mpmath", of_first, np.inf),
        bounded(f"{what}: the median network's", "float64", median(errors), 5e-3),
        bounded(f"{what}: the worst network's", "float64", max(errors), 5e-3),
        bounded(f"{what}: the worst network's, not compensated", "float64", max(plain), np.inf),
    ]


def bounded(what: str, peer: str, value: float, limit: float) -> tuple[dict[str, Any], dict[str, bool]]:
    asked = limit if limit < np.inf else None
    value = float(value)
    return {"what": what, "peer": peer, "relujax": value, "limit": asked}, (
        {f"{what}: at most {limit:.3g}": value <= limit} if asked else {}
    )


def timed(
    what: str, peer: str, ours: Callable, theirs: Callable, limit: float, rounds: int
) -> tuple[dict[str, Any], dict[str, bool]]:
    ratios, seconds = decided({"relujax": ours, peer: theirs}, rounds, {peer: limit})
    row = {
        "what": what,
        "peer": peer,
        "relujax": median(seconds["relujax"]),
        "peer, seconds": median(seconds[peer]),
        "ratio": ratios[peer],
        "limit": limit if limit < np.inf else None,
    }
    return row, {f"{what}: at most {limit:.3g} of {peer}": ratios[peer] <= limit} if limit < np.inf else {}


def layer_of_rows(h: jax.Array, w: jax.Array) -> jax.Array:
    """As Flax writes it."""
    return rx.leaky_relu(h @ w, SLOPE)


def chain(weights: jax.Array, x: jax.Array, rows: bool = False) -> jax.Array:
    """The Jacobian by hand, or where ``rows`` its transpose: a mask and a matrix product per layer."""

    def step(state: tuple, w: jax.Array) -> tuple:
        h, jacobian = state
        z = h @ w if rows else w @ h
        slopes = jnp.where(z > 0, 1.0, SLOPE)
        return (slopes * z, (jacobian @ w) * slopes if rows else slopes[:, None] * (w @ jacobian)), None

    return jax.lax.scan(step, (x, jnp.eye(x.size)), weights)[0][1]


def stack_time(kind: str, rows: bool) -> tuple[dict[str, Any], dict[str, bool]]:
    """Gaussian layers part directions by 7 nats each, orthogonal ones by 2: those are factored several at a time."""
    weights, xs = leaky_stack(128, 64, seed=0), normal(1, (16, 128))
    if kind == "orthogonal":
        weights = jax.random.orthogonal(jax.random.key(0), 128, (64,)) * np.float32((2 / (1 + SLOPE**2)) ** 0.5)
    ours = jax.jit(jax.vmap(rx.stack_spectrum(rx.Scan(layer_of_rows if rows else layer, weights))))
    theirs = jax.jit(jax.vmap(lambda x: chain(weights, x, rows)))
    what = f"{kind} stack, {'h @ w' if rows else 'w @ h'}, width 128, depth 64, 16 examples"
    return timed(what, "GEMM chain", lambda: ours(xs), lambda: theirs(xs), 4.0, 3)


def factorisation_time() -> tuple[dict[str, Any], dict[str, bool]]:
    """What a factorisation per layer takes by itself: Gaussian layers leave no room for fewer."""
    weights, xs = leaky_stack(128, 64, seed=0), normal(1, (16, 128))
    matrices = normal(2, (64, 16, 128, 128))
    alone = jax.jit(lambda: jax.lax.map(lambda m: jnp.sum(jax.lax.linalg.lu(m)[0]), matrices))
    theirs = jax.jit(jax.vmap(lambda x: chain(weights, x)))
    what = "64 LU factorisations alone, width 128, 16 examples"
    return timed(what, "GEMM chain", alone, lambda: theirs(xs), np.inf, 3)


def exact_time(width: int) -> tuple[dict[str, Any], dict[str, bool]]:
    """The Jacobian alone: what follows, an SVD, is the same on both sides."""
    from relujax.spectra._jacobian import jacobian

    weights, xs = leaky_stack(width, 16, seed=0), normal(1, (16, width))

    def net(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda h, w: (layer(h, w), None), x, weights)[0]

    ours = jax.jit(jax.vmap(lambda x: jacobian(net, x)))
    theirs = jax.jit(jax.vmap(lambda x: chain(weights, x)))
    np.testing.assert_allclose(ours(xs), theirs(xs), atol=1e-4)
    what = f"Jacobian, width {width}, depth 16, 16 examples"
    return timed(what, "GEMM chain", lambda: ours(xs), lambda: theirs(xs), 1.15, 7)


def largest_time() -> list[tuple[dict[str, Any], dict[str, bool]]]:
    weights, x, key = normal(0, (16, 512, 512)) * np.float32((2 / 512) ** 0.5), normal(1, (512,)), jax.random.key(0)

    def net(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda h, w: (rx.relu(w @ h), None), x, weights)[0]

    ours = jax.jit(rx.spectrum(net, num=5))
    dense = jax.jit(lambda x: jnp.linalg.svd(jax.jacrev(net)(x), compute_uv=False))
    jacobian = np.asarray(jax.jacrev(net)(x), np.float64)
    want = np.linalg.svd(jacobian, compute_uv=False)[:5]
    error = float(np.abs(np.asarray(ours(x, key)) / want - 1).max())
    rows = [timed("top 5, width 512, depth 16", "jacrev + svd", lambda: ours(x, key), lambda: dense(x), 1 / 8, 5)]
    rows.append(bounded("top 5, relative error", "numpy, float64", error, 1e-5))
    for columns in (1, 8, 13, 26):
        rows.append(_passes(weights, passes_needed(jacobian, want, columns), columns, lambda: dense(x)))
    try:
        decomp, eig = (importlib.import_module(f"matfree.{name}") for name in ("decomp", "eig"))
    except ImportError:
        return rows
    return rows + _matfree(eig.svd_partial(decomp.bidiag(20)), want, net, ours, x, key)


def passes_needed(matrix: np.ndarray, largest: np.ndarray, columns: int) -> int:
    """Products with a matrix or its transpose until block Lanczos, in float64, has its largest values to 1e-5."""
    new = np.linalg.qr(np.random.default_rng(0).standard_normal((len(matrix), columns)))[0]
    basis, number = new, 1
    while True:
        found = np.linalg.svd(matrix @ basis, compute_uv=False)[: len(largest)]
        if len(found) == len(largest) and np.abs(found / largest - 1).max() <= 1e-5:
            return number
        image = matrix.T @ (matrix @ new)
        for _ in range(2):
            image -= basis @ (basis.T @ image)
        new = np.linalg.qr(image)[0]
        basis, number = np.hstack([basis, new]), number + 2


def _passes(weights: jax.Array, number: int, columns: int, dense: Callable) -> tuple[dict[str, Any], dict[str, bool]]:
    """What the products with the weights take by themselves, in as many passes as block Lanczos needs."""
    start, weights = normal(3, (512, columns)), weights * np.float32(0.5**0.5)  # without a relu they would grow

    def once(block: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jax.lax.scan(lambda block, w: (w @ block, None), block, weights)[0], None

    alone = jax.jit(lambda block: jax.lax.scan(once, block, length=number)[0])
    what = f"{number} passes of {columns} columns alone, width 512, depth 16"
    return timed(what, "jacrev + svd", lambda: alone(start), dense, np.inf, 5)


def _matfree(svd: Any, want: np.ndarray, net: Callable, ours: Callable, x: jax.Array, key: jax.Array) -> list:
    @jax.jit
    def theirs(x: jax.Array) -> jax.Array:
        start = jax.random.normal(key, x.shape)
        return svd(lambda v: jax.jvp(net, (x,), (v,))[1], start / jnp.linalg.norm(start))[1][:5]

    error = float(np.abs(np.asarray(theirs(x)) / want - 1).max())
    return [
        timed("top 5, width 512, depth 16", "matfree", lambda: ours(x, key), lambda: theirs(x), np.inf, 5),
        bounded("top 5, relative error of matfree, 20 steps", "numpy, float64", error, np.inf),
    ]


def main() -> None:
    found = [
        *precision(),
        *(stack_time(kind, rows) for kind in ("Gaussian", "orthogonal") for rows in (False, True)),
        factorisation_time(),
        exact_time(128),
        exact_time(256),
        *largest_time(),
    ]
    columns = ("what", "peer", "relujax", "peer, seconds", "ratio", "limit")
    rows = [{column: row.get(column) for column in columns} for row, _ in found]
    claims = {claim: holds for _, claims in found for claim, holds in claims.items()}
    finish("spectra", rows, claims, "Spectra: seconds, or the error where the peer is a truth")


if __name__ == "__main__":
    main()
