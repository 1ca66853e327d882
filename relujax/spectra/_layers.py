"""Singular values from the input to each activation site of an unmodified function, and from it to the output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .._meshes import zeros_of
from .._precision import in_full_precision
from ..probes import Site, capture, in_order
from ..probes.interpreter import Verb, instrument
from ._checks import check_point
from ._exact import singular_values_of
from ._jacobian import unit_vectors


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SiteSpectrum:
    """Of one site.

    Attributes:
        from_input: singular values of the Jacobian from the input to the site's output, descending.
        to_output: of the one from there to the function's output.
    """

    from_input: jax.Array
    to_output: jax.Array


def layer_spectra(
    fun: Callable,
    argnum: int = 0,
    select: Callable | None = None,
    batch: int | None = None,
    *,
    to_output: bool = False,
) -> Callable:
    """Per activation site of ``fun``, all singular values of the Jacobian from the input to that site's output.

    Args:
        fun: any JAX function, unmodified.
        argnum: which argument is the input, one floating array. With parameters as the first argument and the input
            as another, sites are named after the parameters.
        select: which entries of the output of one execution of a site to differentiate, such as those of one example;
            all by default.
        batch: as in :func:`relujax.probe`.
        to_output: also those of the Jacobian from each site's output to the output of ``fun``; without the sites in a
            ``while`` loop, through which there is no backward pass.

    Returns:
        ``spectra(*args) -> {site name: singular values, descending}``, or with ``to_output``
        ``{site name: SiteSpectrum}``. ``jax.vmap`` it over examples. A site in a scan over the layers of a stack,
        whose weights have names in the first argument, has one entry per layer, ``name[0]``, ``name[1]``, ..., as in
        :func:`relujax.summarize`; in any other scan the outputs of all steps are one.

    Raises:
        ValueError: for an ``argnum`` beyond the arguments, or an input without numbers.
        TypeError: for an input that is not one floating array.

    Cost: one forward-mode pass per element of the input gives every site's Jacobian at once, one reverse-mode pass per
    element of the output every one to the output, from one linearisation; one SVD per site, layer and direction.

    >>> import relujax as rx
    >>> layer_spectra(lambda x: rx.relu(jnp.array([3.0, 4.0]) * x))(jnp.array([1.0, -1.0]))["relu"].tolist()
    [3.0, 0.0]
    >>> both = layer_spectra(lambda x: 5 * rx.relu(2 * x), to_output=True)(jnp.array([1.0, -1.0]))["relu"]
    >>> both.from_input.tolist(), both.to_output.tolist()
    ([2.0, 0.0], [5.0, 5.0])
    """
    part = select or (lambda y: y)

    @in_full_precision
    def spectra(*args: Any) -> dict[str, jax.Array]:
        x = _point(args, argnum)
        sites = {site.name: site for site in instrument(fun, args, batch).finding.sites}

        def outputs(x: jax.Array) -> dict[str, jax.Array]:
            captured = capture(fun, batch=batch)(*_replaced(args, argnum, x))
            return {name: _by_layer(sites[name], y, part) for name, y in captured.items()}

        _, push = jax.linearize(outputs, x)
        values = {name: _values(sites[name], j, True) for name, j in _images(push, x).items()}
        return {name: values[site.name][step] for site, step, name in in_order(sites.values())}

    @in_full_precision
    def both(*args: Any) -> dict[str, SiteSpectrum]:
        x = _point(args, argnum)
        traced = instrument(fun, args, batch)
        # A while loop has no one Jacobian behind it, and what is added in it has none of its turns.
        sites = {site.path: site for site in traced.finding.sites if site.executions is not None}

        def parts(values: dict) -> dict:
            return {path: _by_layer(site, site.examples_first(values[path]), part) for path, site in sites.items()}

        def run(x: jax.Array, shifts: dict) -> tuple[dict, Any]:
            shifted = Verb(lambda use, shift: ((y := _sum(use.output(), shift)), y), tokens=shifts)
            out, records = traced.run(_replaced(args, argnum, x), shifted)
            return parts(records), ravel_pytree(out)[0]

        unshifted = Verb(lambda use, _: ((y := use.output()), y))
        shapes = jax.eval_shape(lambda *args: traced.run(args, unshifted)[1], *args)
        shifts = {path: zeros_of(shapes[path]) for path in sites}
        (_, out), push = jax.linearize(run, x, shifts)
        into = _images(lambda t: push(t, shifts)[0], x)
        pull = jax.linear_transpose(lambda shifts: push(jnp.zeros_like(x), shifts)[1], shifts)
        onward = _images(lambda row: parts(pull(row)[0]), out)
        into = {path: _values(sites[path], j, True) for path, j in into.items()}
        onward = {path: _values(sites[path], j, False) for path, j in onward.items()}
        return {
            name: SiteSpectrum(into[site.path][step], onward[site.path][step])
            for site, step, name in in_order(sites.values())
        }

    return both if to_output else spectra


def _by_layer(site: Site, y: jax.Array, part: Callable) -> jax.Array:
    """The part of each execution's output, with the axes of layers first."""
    for _ in site.steps:
        part = jax.vmap(part)
    return jnp.moveaxis(part(y), site.layer_axes, range(len(site.layer_axes)))


def _values(site: Site, images: jax.Array, units_last: bool) -> jax.Array:
    """Singular values, with the axes of layers first, of what became of each unit vector."""
    layers = images.shape[1 : 1 + len(site.layer_axes)]
    return singular_values_of(jnp.moveaxis(images.reshape(len(images), *layers, -1), 0, -1 if units_last else -2))


def _point(args: tuple, argnum: int) -> jax.Array:
    """The argument that is the input."""
    if not -len(args) <= argnum < len(args):
        raise ValueError(f"got argnum={argnum} for {len(args)} arguments: expected one of them, counted from 0")
    if not jax.tree_util.all_leaves([args[argnum]]):
        raise TypeError(
            f"got a {type(args[argnum]).__name__} as argument {argnum}: expected one floating array; pick the input "
            "by argnum, or close over the rest of the tree"
        )
    check_point(args[argnum])
    return jnp.asarray(args[argnum])


def _replaced(args: tuple, argnum: int, x: Any) -> tuple:
    given = list(args)
    given[argnum] = x
    return tuple(given)


def _sum(y: jax.Array, shift: jax.Array | None) -> jax.Array:
    return y if shift is None else y + shift


def _images(linear: Callable, space: jax.Array) -> dict:
    """What a linear map makes of each unit vector of a space: per site ``(size of the space, ...)``."""
    return jax.vmap(linear)(unit_vectors(space).reshape(space.size, *space.shape))
