"""Plain JAX: one network, its activations in every form that people write by hand."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from .entry import expect, f32, of_plain
from .layers import linear, linear_init, mlp


@jax.custom_vjp
def clipped_gradient_relu(x):
    return jnp.maximum(x, 0)


clipped_gradient_relu.defvjp(
    lambda x: (jnp.maximum(x, 0), x > 0),
    lambda active, g: (jnp.where(active, jnp.clip(g, -1, 1), 0),),
)


# 4 hidden layers in each of the following
@expect(relu=4)
def plain_mlp_step_product():
    def forward(params, x):
        return mlp(params, x, lambda h: h * (h > 0))

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))


@expect(relu=4)
def plain_mlp_clip():
    def forward(params, x):
        h = jnp.clip(linear(params[0], x), 0)
        h = jnp.clip(linear(params[1], h), 0, None)
        h = jnp.clip(linear(params[2], h), min=0.0)
        h = linear(params[3], h).clip(0)
        return linear(params[4], h)

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))


@expect(relu=4)
def plain_mlp_custom_vjp():
    def forward(params, x):
        return mlp(params, x, clipped_gradient_relu)

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))


@expect(relu=4)
def plain_mlp_where_forms():
    def forward(params, x):
        h = linear(params[0], x)
        h = jnp.where(h > 0, h, 0)
        h = linear(params[1], h)
        h = jnp.where(h >= 0, h, jnp.zeros_like(h))
        h = linear(params[2], h)
        h = jnp.where(h < 0, 0.0, h)
        h = linear(params[3], h)
        h = jnp.where(0 < h, h, 0.0)  # noqa: SIM300
        return linear(params[4], h)

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))


@expect(leaky_relu=4)
def plain_mlp_leaky_forms():
    def forward(params, x):
        h = linear(params[0], x)
        h = jnp.where(h > 0, h, 0.01 * h)
        h = linear(params[1], h)
        h = jnp.where(h < 0, h * 0.1, h)
        h = linear(params[2], h)
        h = jnp.maximum(0.2 * h, h)
        h = linear(params[3], h)
        h = jax.nn.leaky_relu(h, negative_slope=0.3)
        return linear(params[4], h)

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))


# under an inner jit and a vmap over examples, in half precision
@expect(relu=4)
def plain_mlp_vmap_jit_bfloat16():
    @jax.jit
    def one(params, x):
        return mlp(params, x, lambda h: jnp.maximum(h, 0))

    def forward(params, x):
        params, x = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, x))
        return jax.vmap(one, in_axes=(None, 0))(params, x).astype(jnp.float32)

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))


# 1 in each of 4 layers: the forms that people write from the paper
@expect(gelu=4)
def plain_gelu_forms():
    def forward(params, x):
        h = linear(params[0], x)
        h = h * 0.5 * (1.0 + jax.lax.erf(h / jnp.sqrt(2.0)))
        h = linear(params[1], h)
        h = 0.5 * h * (1 + jax.scipy.special.erf(h * 2**-0.5))
        h = linear(params[2], h)
        h = h * norm.cdf(h)
        h = linear(params[3], h)
        h = 0.5 * h * (1 + jnp.tanh(0.7978845608 * h * (1 + 0.044715 * h * h)))
        return linear(params[4], h)

    return of_plain(forward, lambda key: linear_init(key, 4, 16, 16, 16, 16, 2), f32(3, 4))
