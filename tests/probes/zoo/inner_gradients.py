"""Functions that take derivatives of their network inside: in the loss, in the sampler, in the learner."""

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp

from .entry import expect, f32, key, of_equinox, of_haiku, of_plain
from .layers import linear_init, mlp


# 3 hidden layers in u, u_t, u_x, the second derivative u_xx, and u on the boundary
@expect(tanh=15)
def plain_pinn_burgers():
    def u(params, x, t):
        return mlp(params, jnp.stack([x, t]), jnp.tanh)[0]

    def residual(params, x, t):
        u_t = jax.grad(u, 2)(params, x, t)
        u_x = jax.grad(u, 1)
        u_xx = jax.grad(u_x, 1)(params, x, t)
        return u_t + u(params, x, t) * u_x(params, x, t) - 0.01 / jnp.pi * u_xx

    def loss(params, x, t, boundary):
        inside = jax.vmap(residual, in_axes=(None, 0, 0))(params, x, t)
        outside = jax.vmap(u, in_axes=(None, 0, None))(params, boundary, 0.0)
        return jnp.mean(inside**2) + jnp.mean((outside + jnp.sin(jnp.pi * boundary)) ** 2)

    return of_plain(loss, lambda key: linear_init(key, 2, 8, 8, 8, 1), f32(6), f32(6), f32(5))


# 2 hidden layers in the Hessian, and in the value on the boundary
@expect(silu=4)
def plain_pinn_poisson_hessian():
    def u(params, x):
        return mlp(params, x, jax.nn.silu)[0]

    def loss(params, inside, boundary, source):
        laplacian = jax.vmap(lambda x: jnp.trace(jax.hessian(u, argnums=1)(params, x)))(inside)
        edge = jax.vmap(lambda x: u(params, x))(boundary)
        return jnp.mean((laplacian + source) ** 2) + 10.0 * jnp.mean(edge**2)

    return of_plain(loss, lambda key: linear_init(key, 2, 8, 8, 1), f32(6, 2), f32(5, 2), f32(6))


# 2 hidden layers, on the support in each of 3 steps and once on the query; all tasks at once
@expect(relu=4, executions=8)
def plain_maml():
    def loss(params, x, y):
        return jnp.mean((mlp(params, x, jax.nn.relu) - y) ** 2)

    def task(params, support, targets, query, query_targets):
        def step(params, _):
            grads = jax.grad(loss)(params, support, targets)
            return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), None

        adapted, _ = jax.lax.scan(step, params, None, length=3)
        return loss(adapted, query, query_targets)

    def meta_loss(params, *tasks):
        return jnp.mean(jax.vmap(task, in_axes=(None, 0, 0, 0, 0))(params, *tasks))

    return of_plain(
        meta_loss, lambda key: linear_init(key, 1, 16, 16, 1), f32(4, 5, 1), f32(4, 5, 1), f32(4, 7, 1), f32(4, 7, 1)
    )


# 2 hidden layers in the gradient of each of 5 Langevin steps, on the data and on the samples
@expect(silu=6, executions=14)
def plain_energy_langevin():
    def energy(params, x):
        return mlp(params, x, lambda h: h * jax.nn.sigmoid(h))[..., 0]

    def loss(params, x, start, key):
        def step(i, x):
            force = jax.grad(lambda x: jnp.sum(energy(params, x)))(x)
            noise = jax.random.normal(jax.random.fold_in(key, i), x.shape)
            return jnp.clip(x - 0.1 * force + 0.01 * noise, -1.0, 1.0)

        samples = jax.lax.stop_gradient(jax.lax.fori_loop(0, 5, step, start))
        real, fake = energy(params, x), energy(params, samples)
        return jnp.mean(real - fake) + 0.1 * jnp.mean(real**2 + fake**2)

    return of_plain(loss, lambda key: linear_init(key, 4, 16, 16, 1), f32(6, 4), f32(6, 4), key())


class VectorField(eqx.Module):
    layers: list

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.layers = [eqx.nn.Linear(a, b, key=k) for a, b, k in zip((3, 16, 16), (16, 16, 2), keys, strict=True)]

    def __call__(self, t, x):
        h = jnp.append(x, t)
        for layer in self.layers[:-1]:
            h = jax.nn.softplus(layer(h))
        return self.layers[-1](h)


# FFJORD: 2 hidden layers, their Jacobian-vector product along, in each of 4 Euler steps
@expect(softplus=2, executions=8)
def equinox_ffjord():
    def log_likelihood(model, x, noise):
        def step(carry, t):
            x, change = carry
            dx, product = jax.jvp(lambda x: model(t, x), (x,), (noise,))
            return (x + 0.25 * dx, change - 0.25 * jnp.dot(noise, product)), None

        (z, change), _ = jax.lax.scan(step, (x, jnp.zeros(())), jnp.linspace(0, 1, 4))
        return jnp.sum(jax.scipy.stats.norm.logpdf(z)) - change

    return of_equinox(
        VectorField,
        f32(5, 2),
        f32(5, 2),
        call=lambda m, x, e: -jnp.mean(jax.vmap(lambda *a: log_likelihood(m, *a))(x, e)),
    )


# WGAN-GP: 2 layers of the generator; 2 of the critic on real, on fake, and in the gradient between them
@expect(relu=2, leaky_relu=6)
def haiku_wgan_gradient_penalty():
    def forward(real, noise, mix):
        generator = hk.nets.MLP([16, 16, 8], name="generator")
        critic = hk.nets.MLP([16, 16, 1], activation=lambda x: jax.nn.leaky_relu(x, 0.2), name="critic")
        fake = generator(noise)
        between = mix * real + (1 - mix) * fake
        gradient = jax.grad(lambda x: jnp.sum(critic(x)))(between)
        norm = jnp.sqrt(jnp.sum(gradient**2, axis=-1) + 1e-12)
        penalty = jnp.mean(jnp.maximum(norm - 1.0, 0.0) ** 2)
        return jnp.mean(critic(fake)) - jnp.mean(critic(real)) + 10.0 * penalty

    return of_haiku(forward, f32(6, 8), f32(6, 4), f32(6, 1))
