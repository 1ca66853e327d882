"""The probe inside every transform, and inside each pair of them: what it counts is what a plain Python loop counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

pytestmark = pytest.mark.own_precision

RNG = np.random.default_rng(5)
W = (RNG.standard_normal((3, 3)) * 0.9).astype(np.float32)
X = RNG.standard_normal((4, 3)).astype(np.float32)


def scan(f):
    return lambda w, h: jax.lax.scan(lambda h, _: (f(w, h), None), h, length=2)[0]


def scan_over_layers(f):
    return lambda w, h: jax.lax.scan(lambda h, w: (f(w, h), None), h, jnp.stack([w, -w]))[0]


def while_loop(f):
    def looped(w, h):
        return jax.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, f(w, s[1])), (0, h))[1]

    return looped


def cond(f):
    return lambda w, h: jax.lax.cond(jnp.sum(h) < 1e9, f, lambda w, h: jnp.tanh(h), w, h)


def switch(f):
    def not_taken(w, h):
        return jax.nn.relu(h) * 2

    return lambda w, h: jax.lax.switch(jnp.int32(jnp.sum(h) < 1e9), [not_taken, f, not_taken], w, h)


def by_rows(f):
    return lambda w, h: jax.lax.map(lambda h: f(w, h), h[:, None]).reshape(h.shape)


def vmap(f):
    return lambda w, h: jax.vmap(lambda h: f(w, h[None])[0])(h)


def checkpoint(f):
    policy = jax.checkpoint_policies.dots_saveable
    return jax.checkpoint(f, policy=policy)


def twice(f):
    return lambda w, h: f(w, f(w, h))


def plaby_rows(f):
    return lambda w, h: jnp.concatenate([f(w, row) for row in h[:, None]])


#: Each transform, and what it comes to in plain Python.
WRAPPERS = {
    "jit": (jax.jit, lambda f: f),
    "checkpoint": (checkpoint, lambda f: f),
    "scan": (scan, twice),
    "scan over layers": (scan_over_layers, lambda f: lambda w, h: f(-w, f(w, h))),
    "while": (while_loop, twice),
    "cond": (cond, lambda f: f),
    "switch": (switch, lambda f: f),
    "map": (by_rows, plaby_rows),
    "vmap": (vmap, lambda f: f),
}
PAIRS = [(a, b) for a in WRAPPERS for b in WRAPPERS]


def block(w, h, shift=0):
    return rx.leaky_relu(h @ w) + jnp.float32(shift)


def scalar(y):
    return jnp.sum(jnp.sin(y))


def by_plain_python(outer, inner):
    """The value and its gradient; every output of the activation, and the gradient with respect to it."""
    outputs = []

    def forward(w, shifts):
        outputs.clear()
        rest = iter(shifts)

        def recorded(w, h):
            y = block(w, h)
            outputs.append(y)
            return y + next(rest) if shifts else y

        return scalar(WRAPPERS[outer][1](WRAPPERS[inner][1](recorded))(w, X))

    value = forward(W, [])
    seen = [np.asarray(y, np.float64) for y in outputs]
    grad, signals = jax.grad(forward, argnums=(0, 1))(W, [np.zeros_like(y) for y in outputs])
    return value, grad, seen, [np.asarray(g, np.float64) for g in signals]


def summed(value, site, reduce=np.sum):
    return reduce(np.asarray(value), axis=tuple(range(len(site.steps))))


@pytest.mark.parametrize(("outer", "inner"), PAIRS, ids=lambda name: name.replace(" ", "_"))
def test_pairs(outer, inner):
    def fun(w, x):
        return WRAPPERS[outer][0](WRAPPERS[inner][0](block))(w, x)

    def loss(w, x):
        return scalar(fun(w, x))

    want, want_grad, outputs, signals = by_plain_python(outer, inner)
    backward = "while" not in (outer, inner)
    if backward:
        (value, grad), stats = jax.jit(rx.probe_grad(loss))(W, X)
        np.testing.assert_allclose(grad, want_grad, rtol=1e-5, atol=1e-6)
    else:
        value, stats = jax.jit(rx.probe(loss))(W, X)
    np.testing.assert_allclose(value, want, rtol=1e-6, atol=1e-6)
    assert not stats.opaque

    seen = [s for s in stats.values() if s.site.kind == "leaky_relu"]
    every, gradient = np.concatenate(outputs), np.concatenate(signals)
    assert sum(summed(s.count, s.site) for s in seen) == len(every)
    for name, of in (("active", (every > 0).sum(0)), ("passing", np.full(3, len(every)))):
        np.testing.assert_array_equal(sum(summed(getattr(s, name), s.site) for s in seen), of, err_msg=name)
    np.testing.assert_allclose(sum(summed(s.total, s.site) for s in seen), every.sum(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sum(summed(s.square, s.site) for s in seen), (every**2).sum(0), rtol=1e-4)
    largest = np.max([summed(s.largest, s.site, np.max) for s in seen], axis=0)
    np.testing.assert_allclose(largest, np.abs(every).max(0), rtol=1e-5)
    if backward:
        square = sum(summed(np.float64(s.signal.norm) ** 2, s.site) for s in seen)
        np.testing.assert_allclose(square, (gradient**2).sum(0), rtol=1e-4)
        zeros = sum(summed(s.signal.zeros, s.site) for s in seen)
        np.testing.assert_array_equal(zeros, (gradient == 0).sum(0))
    else:
        assert all(s.signal is None for s in seen)
    for s in stats.values():
        if s.site.kind != "leaky_relu" and outer != "vmap":  # in a branch that was not taken; vmap takes both
            assert s.count.sum() == s.examples.sum() == s.active.sum() == 0
