"""Networks of coordinates, equilibria and transport."""

import functools

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp

from .entry import expect, f32, of_equinox, of_haiku, of_plain
from .layers import linear, linear_init


# the rendering loss of a radiance field: 2 hidden layers and the one of the view; density is a softplus shifted by 1,
# colour a sigmoid that is padded; both only go into the loss
@expect(relu=3, softplus=1, sigmoid=1)
def equinox_nerf_rendering_loss():
    class Field(eqx.Module):
        trunk: eqx.nn.MLP
        density: eqx.nn.Linear
        view: eqx.nn.Linear
        colour: eqx.nn.Linear

        def __init__(self, k):
            a, b, c, d = jax.random.split(k, 4)
            self.trunk = eqx.nn.MLP(12, 8, 16, 2, key=a)
            self.density, self.view = eqx.nn.Linear(8, 1, key=b), eqx.nn.Linear(11, 8, key=c)
            self.colour = eqx.nn.Linear(8, 3, key=d)

        def __call__(self, x, direction):
            encoded = jnp.concatenate([jnp.sin(x), jnp.cos(x), jnp.sin(2 * x), jnp.cos(2 * x)])
            h = self.trunk(encoded)
            rgb = jax.nn.sigmoid(self.colour(jax.nn.relu(self.view(jnp.concatenate([h, direction])))))
            return jax.nn.softplus(self.density(h)[0] - 1.0), rgb * (1 + 2 * 0.001) - 0.001

    def loss(field, origins, directions, colours):
        t = jnp.linspace(0.1, 2.0, 6)

        def render(origin, direction):
            points = origin + t[:, None] * direction
            density, rgb = jax.vmap(field, in_axes=(0, None))(points, direction)
            delta = jnp.concatenate([t[1:] - t[:-1], jnp.array([1e10])])
            alpha = 1 - jnp.exp(-density * delta)
            passed = jnp.concatenate([jnp.ones(1), jnp.cumprod(1 - alpha[:-1] + 1e-10)])
            weights = alpha * passed
            return weights @ rgb + (1 - weights.sum())

        return jnp.mean((jax.vmap(render)(origins, directions) - colours) ** 2)

    return of_equinox(Field, f32(4, 3), f32(4, 3), f32(4, 3), call=loss)


# a hypernetwork: 2 hidden ReLU layers make the weights of a network of sines; nothing else bends
@expect(relu=2)
def haiku_hypernetwork_siren():
    def forward(codes, points):
        sizes = ((2, 8), (8, 8), (8, 1))
        total = sum(a * b + b for a, b in sizes)
        weights = hk.nets.MLP([16, 16, total])(codes)

        def field(weights, x):
            for i, (a, b) in enumerate(sizes):
                w, bias, weights = weights[: a * b], weights[a * b : a * b + b], weights[a * b + b :]
                x = x @ w.reshape(a, b) + bias
                x = jnp.sin(30.0 * x) if i < 2 else x
            return x

        return jax.vmap(field)(weights, points)

    return of_haiku(forward, f32(3, 4), f32(3, 7, 2))


# optimal transport by input-convex networks of 2 softplus layers each: g in its gradient, f at what that gives and on
# the data; weights are made positive by a softplus of parameters, which is none
@expect(softplus=6)
def plain_convex_transport():
    def convex(p, x):
        z = jax.nn.softplus(linear(p["first"], x))
        z = jax.nn.softplus(z @ jax.nn.softplus(p["z"]) + linear(p["second"], x))
        return z @ jax.nn.softplus(p["out"]) + 0.5 * jnp.sum(x**2)

    def loss(params, source, target):
        moved = jax.vmap(jax.grad(convex, argnums=1), in_axes=(None, 0))(params["g"], target)
        f = jax.vmap(convex, in_axes=(None, 0))
        penalty = jnp.sum(jax.nn.relu(-params["f"]["z"]) ** 2)
        return jnp.mean(f(params["f"], moved) - jnp.sum(moved * target, -1) - f(params["f"], source)) + penalty

    def init(k):
        one = {"first": linear_init(k, 2, 8)[0], "second": linear_init(k, 2, 8)[0]}
        one |= {"z": jnp.zeros((8, 8)), "out": jnp.zeros(8)}
        return {"f": one, "g": one}

    return of_plain(loss, init, f32(6, 2), f32(6, 2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def fixed_point(f, p, x):
    def step(state):
        _, z, i = state
        return z, f(p, x, z), i + 1

    keep = lambda s: (jnp.linalg.norm(s[0] - s[1]) > 1e-4) & (s[2] < 20)  # noqa: E731
    return jax.lax.while_loop(keep, step, (jnp.full_like(x, 1.0), jnp.zeros_like(x), 0))[1]


def fixed_forward(f, p, x):
    z = fixed_point(f, p, x)
    return z, (p, x, z)


def fixed_backward(f, kept, g):
    p, x, z = kept
    _, pull = jax.vjp(lambda z: f(p, x, z), z)
    u = jax.lax.fori_loop(0, 20, lambda i, u: g + pull(u)[0], g)
    return jax.vjp(lambda p, x: f(p, x, z), p, x)[1](u)


fixed_point.defvjp(fixed_forward, fixed_backward)


# an equilibrium with a gradient by the implicit function theorem: 1 in front, 1 behind; the cell, a tanh, is within a
# call with a rule of its own, which is listed and not entered
@expect(relu=1, gelu=1)
def plain_deep_equilibrium_implicit():
    def cell(p, x, z):
        return jnp.tanh(0.3 * z @ p["z"] + x)

    def forward(p, x):
        z = fixed_point(cell, p["cell"], linear(p["in"], jax.nn.relu(linear(p["first"], x))))
        return linear(p["out"], jax.nn.gelu(linear(p["last"], z)))

    def init(k):
        shapes = {"first": (4, 8), "in": (8, 6), "last": (6, 8), "out": (8, 2)}
        return {n: linear_init(k, *s)[0] for n, s in shapes.items()} | {"cell": {"z": jnp.eye(6)}}

    return of_plain(forward, init, f32(5, 4))


# a spline network by the recursion of Cox and de Boor, whose comparisons are none: the base of either layer
@expect(silu=2)
def equinox_spline_kan():
    class Layer(eqx.Module):
        base: jax.Array
        spline: jax.Array
        scale: jax.Array
        grid: jax.Array

        def __init__(self, din, dout, k):
            self.base, self.scale = jax.random.normal(k, (din, dout)), jnp.ones((din, dout))
            self.spline = jax.random.normal(k, (din, 7, dout)) * 0.1
            self.grid = jnp.linspace(-2.5, 2.5, 11)

        def __call__(self, x):
            g, y = jax.lax.stop_gradient(self.grid), x[:, None]
            bases = ((y >= g[:-1]) & (y < g[1:])).astype(x.dtype)
            for k in range(1, 4):
                left = (y - g[: -(k + 1)]) / (g[k:-1] - g[: -(k + 1)]) * bases[:, :-1]
                bases = left + (g[k + 1 :] - y) / (g[k + 1 :] - g[1:-k]) * bases[:, 1:]
            return jax.nn.silu(x) @ self.base + jnp.einsum("ig,igo,io->o", bases, self.spline, self.scale)

    def make(k):
        return eqx.nn.Sequential([eqx.nn.Lambda(Layer(3, 6, k)), eqx.nn.Lambda(Layer(6, 1, k))])

    return of_equinox(make, f32(5, 3))


# Deep Ritz: a cube of a ReLU in each of 2 residual blocks of 2, in the gradient and on the boundary
@expect(relu=8)
def plain_deep_ritz():
    def u(p, x):
        h = linear(p["in"], x)
        for block in p["blocks"]:
            a = jax.nn.relu(linear(block[0], h)) ** 3
            h = h + jnp.maximum(linear(block[1], a) ** 3, 0)
        return linear(p["out"], h)[0]

    def loss(p, inside, boundary):
        gradient = jax.vmap(jax.grad(u, 1), (None, 0))(p, inside)
        edge = jax.vmap(u, (None, 0))(p, boundary)
        return jnp.mean(0.5 * jnp.sum(gradient**2, -1)) + 500.0 * jnp.mean(edge**2)

    def init(k):
        return {
            "in": linear_init(k, 2, 6)[0],
            "blocks": [linear_init(k, 6, 6, 6)] * 2,
            "out": linear_init(k, 6, 1)[0],
        }

    return of_plain(loss, init, f32(6, 2), f32(5, 2))


# attention over neighbours, with a mask of -inf: an ELU in each of 2 layers, by where; the gate of the readout
@expect(elu=2, sigmoid=1)
def equinox_pair_readout():
    class Net(eqx.Module):
        layers: list
        gate: eqx.nn.Linear

        def __init__(self, k):
            a, b, c = jax.random.split(k, 3)
            self.layers = [eqx.nn.Linear(4, 4, key=a), eqx.nn.Linear(4, 4, key=b)]
            self.gate = eqx.nn.Linear(4, 1, key=c)

        def __call__(self, x, adjacency):
            for layer in self.layers:
                h = jax.vmap(layer)(x)
                logits = jnp.where(adjacency, h @ h.T, -jnp.inf)
                logits = jnp.where(jnp.any(adjacency, -1, keepdims=True), logits, 0.0)
                h = jax.nn.softmax(logits) @ h
                x = x + jnp.where(h > 0, h, jnp.exp(jnp.minimum(h, 0)) - 1)
            return jnp.sum(jax.nn.sigmoid(jax.vmap(self.gate)(x)) * x, axis=0)

    return of_equinox(Net, f32(3, 5, 4), jax.ShapeDtypeStruct((3, 5, 5), bool))


# a liquid time constant: the tanh of the synapse and the softplus of the constant, in 3 steps of each of 4 events;
# the state is clipped
@expect(tanh=1, softplus=1, executions=2 * 12)
def plain_liquid_time_constant():
    def forward(p, xs):
        def event(h, x):
            def euler(_, h):
                u = jnp.concatenate([h, x], -1)
                f = jnp.tanh(linear(p["f"], u))
                tau = 0.5 + jax.nn.softplus(linear(p["tau"], u))
                return jnp.clip(h + 0.1 * (-h / tau + f * (1 - h)), -1, 1)

            h = jax.lax.fori_loop(0, 3, euler, h)
            return h, h

        return jax.lax.scan(event, jnp.zeros((xs.shape[1], 6)), xs)[1] @ p["out"]

    init = lambda k: {"f": linear_init(k, 8, 6)[0], "tau": linear_init(k, 8, 6)[0], "out": jnp.ones((6, 2))}  # noqa: E731
    return of_plain(forward, init, f32(4, 3, 2))
