"""Which axis of a value a mesh axis divides, worked out by hand for each kind of equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import relujax as rx
from relujax.probes import _jaxpr as jx
from relujax.probes._shards import divisions

X = jax.ShapeDtypeStruct((4, 6, 8), jnp.float32)
W = jax.ShapeDtypeStruct((8, 10), jnp.float32)
ONE, POSITION = jax.ShapeDtypeStruct((1, 6, 8), jnp.float32), jax.ShapeDtypeStruct((4, 1, 8), jnp.float32)
IDS = jax.ShapeDtypeStruct((4, 6), jnp.int32)


def conv(x, w, groups=1):
    numbers = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=numbers, feature_group_count=groups)


KERNEL = jax.ShapeDtypeStruct((3, 8, 10), jnp.float32)
EACH = jax.ShapeDtypeStruct((3, 1, 8), jnp.float32)


def scanned(x):
    def body(h, x):
        return jnp.tanh(h + x), h * 2

    return jax.lax.scan(body, jnp.zeros((6, 8), x.dtype), x)


def turns(*values):
    return jax.lax.scan(lambda abc, _: ((abc[1], abc[2], abc[0]), None), values, None, 5)[0]


# Name: the function, its arguments, how they are divided by "a", and the axes of its outputs that "a" then divides.
CASES = {
    "elementwise": (jnp.sin, [X], [P(None, "a")], [1]),
    "transpose": (lambda x: x.transpose(2, 0, 1), [X], [P(None, None, "a")], [0]),
    "broadcast": (lambda x: jnp.broadcast_to(x, (5, 4, 6, 8)), [X], [P(None, "a")], [2]),
    "merged, major": (lambda x: x.reshape(24, 8), [X], [P("a")], [0]),
    "merged, minor": (lambda x: x.reshape(24, 8), [X], [P(None, "a")], [None]),
    "split": (lambda x: x.reshape(4, 6, 2, 4), [X], [P(None, None, "a")], [2]),
    "one example, split behind": (lambda x: x.reshape(1, 2, 3, 8), [ONE], [P("a")], [0]),
    "one example, merged": (lambda x: x.reshape(6, 8), [ONE], [P("a")], [0]),
    "one example, and a new axis": (lambda x: x.reshape(1, 1, 6, 8), [ONE], [P("a")], [None]),
    "one position, split behind": (lambda x: x.reshape(4, 1, 2, 4), [POSITION], [P(None, "a")], [1]),
    "behind what is merged": (lambda x: x.reshape(24, 8), [X], [P(None, None, "a")], [1]),
    "new axis": (lambda x: x[:, None], [X], [P(None, "a")], [2]),
    "squeeze": (lambda x: x[:1].squeeze(0), [X], [P(None, "a")], [0]),
    "sum over another": (lambda x: x.sum(0), [X], [P(None, "a")], [0]),
    "sum over it": (lambda x: x.sum(1), [X], [P(None, "a")], [None]),
    "argmax": (lambda x: x.argmax(0), [X], [P(None, None, "a")], [1]),
    "product, left": (lambda x, w: x @ w, [X, W], [P("a"), P()], [0]),
    "product, right": (lambda x, w: x @ w, [X, W], [P(), P(None, "a")], [2]),
    "product, summed over": (lambda x, w: x @ w, [X, W], [P(None, None, "a"), P("a")], [None]),
    "product, batched": (lambda x: jnp.einsum("bti,bsi->bts", x, x), [X], [P("a")], [0]),
    "product, two of one": (lambda x: jnp.einsum("bti,csi->btcs", x, x), [X], [P("a")], [None]),
    "convolution, examples": (conv, [X, KERNEL], [P("a"), P()], [0]),
    "convolution, positions": (conv, [X, KERNEL], [P(None, "a"), P()], [1]),
    "convolution, units": (conv, [X, KERNEL], [P(), P(None, None, "a")], [2]),
    "convolution, summed over": (conv, [X, KERNEL], [P(None, None, "a"), P(None, "a")], [None]),
    "convolution, each": (lambda x, w: conv(x, w, 8), [X, EACH], [P(None, None, "a"), P(None, None, "a")], [2]),
    "embedding, ids": (lambda w, ids: w[ids], [W, IDS], [P(), P(None, "a")], [1]),
    "embedding, units": (lambda w, ids: w[ids], [W, IDS], [P(None, "a"), P()], [2]),
    "concatenated elsewhere": (lambda x: jnp.concatenate([x, x], 0), [X], [P(None, "a")], [1]),
    "concatenated along it": (lambda x: jnp.concatenate([x, x], 1), [X], [P(None, "a")], [None]),
    "scan": (scanned, [X], [P(None, "a")], [0, 1]),
    "scan over it": (scanned, [X], [P("a")], [None, None]),
    "while": (lambda x: jax.lax.fori_loop(0, 3, lambda i, h: h + x, jnp.zeros_like(x)), [X], [P("a")], [0]),
    "cond": (lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.zeros_like, x), [X], [P(None, "a")], [1]),
    "checkpoint": (jax.checkpoint(lambda x: x.T), [X], [P("a")], [2]),
    "a custom rule": (rx.relu, [X], [P(None, "a")], [1]),
    "where": (lambda x: jnp.where(x[:, :1, :1] > 0, x, 0), [X], [P("a")], [0]),
    "joined": (lambda x: jax.lax.psum(x, "a"), [X], [P("a")], ["same"]),
    "gathered": (lambda x: jax.lax.all_gather(x, "a"), [X], [P("a")], ["same"]),
    "scattered": (lambda x: jax.lax.psum_scatter(x.sum(0), "a", scatter_dimension=1, tiled=True), [X], [P("a")], [1]),
    "scattered, untiled": (lambda x: jax.lax.psum_scatter(x[:1], "a", scatter_dimension=0), [X], [P("a")], [None]),
    "three that take turns": (turns, [X, X, X], [P("a"), P(None, "a"), P()], [None, None, None]),
    "exchanged": (lambda x: jax.lax.all_to_all(x, "a", 2, 0, tiled=True), [X], [P("a")], [2]),
    "the place of the device": (
        lambda x: jnp.zeros_like(x) + jax.lax.axis_index("a").astype(jnp.float32),
        [X],
        [P()],
        [None],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_divides_the_outputs(case):
    fun, args, specs, want = CASES[case]
    mesh = jax.make_mesh((1,), ("a",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(fun, mesh=mesh, in_specs=tuple(specs), out_specs=P("a"), check_vma=False)
    closed = jax.make_jaxpr(mapped)(*args)
    [eqn] = [eqn for eqn in jx.open_jaxpr(closed).eqns if eqn.primitive.name == "shard_map"]
    body = jx.open_jaxpr(jx.body(eqn))
    found = divisions(body, eqn.params["in_specs"], ["a"], (0,))
    assert [found[(0,), var].get("a", "same") for var in body.outvars] == want


def test_axes_in_another_order_than_the_mesh_are_not_known():
    mesh = jax.make_mesh((1, 1), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    mapped = jax.shard_map(rx.relu, mesh=mesh, in_specs=P(("b", "a")), out_specs=P(("b", "a")))
    x = np.ones((4, 3), np.float32)
    stats = rx.probe(mapped)(x)[1]
    assert not len(stats)
    assert [part.reason for part in stats.opaque] == ["which of its axes is divided by a is not known"]


def test_a_site_of_which_it_is_not_known_is_listed():
    mesh = jax.make_mesh((1,), ("a",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(
        lambda x: jax.nn.relu(x.reshape(24, 8)).reshape(x.shape),
        mesh=mesh,
        in_specs=P(None, "a"),
        out_specs=P(None, "a"),
    )
    _, stats = rx.probe(mapped)(np.ones((4, 6, 8), np.float32))
    [part] = stats.opaque
    assert (part.kinds, part.reason) == (("relu",), "which of its axes is divided by a is not known")
