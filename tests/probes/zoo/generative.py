"""Diffusion, flows and autoregressive generators, with the losses that they are trained by."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, i32, key, of_linen, of_nnx, of_plain
from .layers import linear, linear_init, mlp


def modulate(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


class DiTBlock(nn.Module):
    dim: int

    @nn.compact
    def __call__(self, x, c):
        mods = nn.Dense(6 * self.dim, kernel_init=nn.initializers.zeros)(nn.silu(c))
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(mods, 6, axis=-1)
        norm = lambda: nn.LayerNorm(use_bias=False, use_scale=False, epsilon=1e-6)  # noqa: E731
        h = modulate(norm()(x), shift1, scale1)
        x = x + gate1[:, None] * nn.MultiHeadDotProductAttention(2)(h, h)
        h = modulate(norm()(x), shift2, scale2)
        h = nn.Dense(self.dim)(nn.gelu(nn.Dense(4 * self.dim)(h), approximate=True))
        return x + gate2[:, None] * h


class DiT(nn.Module):
    dim: int = 16
    depth: int = 2

    @nn.compact
    def __call__(self, x, t, label, train):
        b, size, _, channels = x.shape
        freqs = jnp.exp(-jnp.log(10000.0) * jnp.arange(8) / 8)
        args = t[:, None] * freqs[None]
        emb = jnp.concatenate([jnp.cos(args), jnp.sin(args)], axis=-1)
        c = nn.Dense(self.dim)(nn.silu(nn.Dense(self.dim)(emb)))
        drop = jax.random.bernoulli(self.make_rng("dropout"), 0.1, (b,))
        label = jnp.where(drop, 10, label) if train else label
        c = c + nn.Embed(11, self.dim)(label)
        h = nn.Conv(self.dim, (2, 2), strides=2, padding="VALID")(x).reshape(b, -1, self.dim)
        h = h + self.param("positions", nn.initializers.normal(0.02), (1, h.shape[1], self.dim))
        for _ in range(self.depth):
            h = nn.remat(DiTBlock)(self.dim)(h, c)
        shift, scale = jnp.split(nn.Dense(2 * self.dim)(nn.silu(c)), 2, axis=-1)
        h = nn.Dense(2 * 2 * channels)(modulate(nn.LayerNorm(use_bias=False, use_scale=False)(h), shift, scale))
        h = h.reshape(b, size // 2, size // 2, 2, 2, channels)
        return jnp.einsum("bhwpqc->bhpwqc", h).reshape(x.shape)


# silu: 1 of the time, 1 on the condition in each of 2 blocks and at the end; gelu: 1 in each block
@expect(silu=4, gelu=2)
def linen_dit_adaln():
    return of_linen(DiT(), f32(2, 4, 4, 3), f32(2), i32(2), train=True)


class ScoreNet(nnx.Module):
    """The tutorial's: random Fourier features, dense biases, swish, divided by the deviation."""

    def __init__(self, rngs):
        self.w = nnx.BatchStat(rngs.normal((8,)) * 30.0)
        self.embed = nnx.Linear(16, 16, rngs=rngs)
        self.down = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in ((1, 4), (4, 8))])
        self.dense = nnx.List([nnx.Linear(16, b, rngs=rngs) for b in (4, 8, 4)])
        self.norms = nnx.List([nnx.GroupNorm(b, num_groups=2, rngs=rngs) for b in (4, 8, 4)])
        self.up = nnx.ConvTranspose(8, 4, (3, 3), rngs=rngs)
        self.out = nnx.Conv(8, 1, (3, 3), rngs=rngs)

    def __call__(self, x, t):
        act = lambda h: h * nnx.sigmoid(h)  # noqa: E731
        angles = t[:, None] * self.w[...][None] * 2 * jnp.pi
        embed = act(self.embed(jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)))
        h1 = act(self.norms[0](self.down[0](x) + self.dense[0](embed)[:, None, None]))
        h2 = act(self.norms[1](self.down[1](h1) + self.dense[1](embed)[:, None, None]))
        h = act(self.norms[2](self.up(h2) + self.dense[2](embed)[:, None, None]))
        h = self.out(jnp.concatenate([h, h1], axis=-1))
        return h / deviation(t)[:, None, None, None]


def deviation(t, sigma=25.0):
    return jnp.sqrt((sigma ** (2 * t) - 1.0) / 2.0 / jnp.log(sigma))


# 1 of the time, 3 of the layers
@expect(silu=4)
def nnx_score_sde_loss():
    def loss(model, x, rng):
        first, second = jax.random.split(rng)
        t = jax.random.uniform(first, (x.shape[0],)) * (1.0 - 1e-5) + 1e-5
        z = jax.random.normal(second, x.shape)
        std = deviation(t)[:, None, None, None]
        score = model(x + z * std, t)
        return jnp.mean(jnp.sum((score * std + z) ** 2, axis=(1, 2, 3)))

    return of_nnx(lambda: ScoreNet(nnx.Rngs(0)), f32(2, 4, 4, 1), key(), method=loss)


def mish(x):
    return x * jnp.tanh(jax.nn.softplus(x))


class ResidualFiLM(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, condition):
        h = mish(nn.GroupNorm(2)(nn.Conv(self.features, (3,))(x)))
        scale, bias = jnp.split(nn.Dense(2 * self.features)(mish(condition)), 2, axis=-1)
        h = h * scale[:, None] + bias[:, None]
        h = jax.nn.mish(nn.GroupNorm(2)(nn.Conv(self.features, (3,))(h)))
        return h + nn.Conv(self.features, (1,))(x)


class DiffusionPolicy(nn.Module):
    @nn.compact
    def __call__(self, x, t, observation):
        angles = jnp.full((x.shape[0], 1), t) * jnp.exp(-jnp.arange(4.0))[None]
        embed = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        embed = nn.Dense(8)(jax.nn.mish(nn.Dense(16)(embed)))
        condition = jnp.concatenate([embed, observation], axis=-1)
        h1 = ResidualFiLM(4)(x, condition)
        h2 = ResidualFiLM(8)(nn.avg_pool(h1, (2,), strides=(2,)), condition)
        up = jnp.repeat(h2, 2, axis=1)
        h = ResidualFiLM(4)(jnp.concatenate([up, h1], axis=-1), condition)
        return nn.Conv(x.shape[-1], (1,))(jax.nn.mish(nn.Conv(4, (3,))(h)))


# 1 of the time, 3 in each of 3 blocks, 1 at the end, in each of 5 steps of the sampler, where the actions are clipped
@expect(mish=11, executions=55)
def linen_diffusion_policy_ddim():
    model = DiffusionPolicy()

    def sample(variables, start, observation, alpha_bars):
        def step(x, levels):
            now, before, t = levels
            noise = model.apply(variables, x, t, observation)
            clean = jnp.clip((x - jnp.sqrt(1 - now) * noise) / jnp.sqrt(now), -1, 1)
            noise = (x - jnp.sqrt(now) * clean) / jnp.sqrt(jnp.maximum(1 - now, 1e-8))
            return jnp.sqrt(before) * clean + jnp.sqrt(jnp.maximum(1 - before, 0.0)) * noise, None

        times = jnp.arange(5.0)[::-1]
        return jax.lax.scan(step, start, (alpha_bars[1:], alpha_bars[:-1], times))[0]

    x, observation = f32(2, 8, 2), f32(2, 6)
    variables = jax.eval_shape(model.init, key(), x, f32(), observation)
    return sample, (variables, x, observation, f32(6))


# Glow: actnorm, mixing by a matrix, couplings whose scale is a sigmoid shifted by 2; 2 hidden relu and a scale in each
# of 3 steps, the last of which only goes into the likelihood
@expect(relu=6, sigmoid=3)
def plain_glow_likelihood():
    def step(p, x):
        x = (x + p["bias"]) * jnp.exp(p["log_scale"])
        log_det = jnp.sum(p["log_scale"]) + jnp.linalg.slogdet(p["mix"])[1]
        a, b = jnp.split(x @ p["mix"], 2, axis=-1)
        shift, raw = jnp.split(mlp(p["net"], a, jax.nn.relu), 2, axis=-1)
        scale = jax.nn.sigmoid(raw + 2.0)
        b = (b + shift) * scale
        return jnp.concatenate([a, b], axis=-1), log_det + jnp.sum(jnp.log(scale), axis=-1)

    def loss(params, x, rng):
        x = (x * 255 + jax.random.uniform(rng, x.shape)) / 256
        total = 0.0
        for p in params:
            x, log_det = step(p, x)
            total = total + log_det
        log_prob = jnp.sum(jax.scipy.stats.norm.logpdf(x), axis=-1) + total
        return -jnp.mean(log_prob) / (jnp.log(2) * x.shape[-1])

    def init(k):
        one = {"bias": jnp.zeros(6), "log_scale": jnp.zeros(6), "mix": jnp.eye(6), "net": linear_init(k, 3, 8, 8, 6)}
        return [one] * 3

    return of_plain(loss, init, f32(5, 6), key())


def rational_quadratic(x, widths, heights, slopes, bound=3.0, least=1e-3):
    bins = widths.shape[-1]
    widths = least + (1 - least * bins) * jax.nn.softmax(widths, axis=-1)
    heights = least + (1 - least * bins) * jax.nn.softmax(heights, axis=-1)
    slopes = jnp.pad(least + jax.nn.softplus(slopes), ((0, 0), (0, 0), (1, 1)), constant_values=1.0)
    xs = 2 * bound * jnp.pad(jnp.cumsum(widths, -1), ((0, 0), (0, 0), (1, 0))) - bound
    ys = 2 * bound * jnp.pad(jnp.cumsum(heights, -1), ((0, 0), (0, 0), (1, 0))) - bound
    inside = jnp.abs(x) < bound
    safe = jnp.where(inside, x, 0.0)
    index = jnp.clip(jnp.sum(safe[..., None] >= xs, axis=-1, keepdims=True) - 1, 0, bins - 1)
    take = lambda a, i: jnp.take_along_axis(a, i, axis=-1)[..., 0]  # noqa: E731
    left, right, low, high = take(xs, index), take(xs, index + 1), take(ys, index), take(ys, index + 1)
    d0, d1, s = take(slopes, index), take(slopes, index + 1), (high - low) / (right - left)
    u = (safe - left) / (right - left)
    below = s + (d1 + d0 - 2 * s) * u * (1 - u)
    y = low + (high - low) * (s * u**2 + d0 * u * (1 - u)) / below
    slope = s**2 * (d1 * u**2 + 2 * s * u * (1 - u) + d0 * (1 - u) ** 2) / below**2
    return jnp.where(inside, y, x), jnp.where(inside, jnp.log(slope), 0.0)


# neural spline flow: 2 hidden layers and the slopes of each of 2 couplings; clips and masks are none
@expect(relu=4, softplus=2)
def plain_spline_flow_likelihood():
    def loss(params, x):
        total = 0.0
        for p in params:
            a, b = jnp.split(x, 2, axis=-1)
            out = mlp(p, a, jax.nn.relu).reshape(*b.shape, 3 * 4 - 1)
            b, log_slope = rational_quadratic(b, *jnp.split(out, [4, 8], axis=-1))
            total = total + log_slope.sum(-1)
            x = jnp.concatenate([b, a], axis=-1)
        return -jnp.mean(jax.scipy.stats.norm.logpdf(x).sum(-1) + total)

    return of_plain(loss, lambda k: [linear_init(k, 2, 8, 8, 22)] * 2, f32(5, 4))


class PixelCNN(nn.Module):
    mixtures: int = 2

    @nn.compact
    def __call__(self, x):
        def concat_elu(h):
            return nn.elu(jnp.concatenate([h, -h], axis=-1))

        def down(h, features):
            return nn.Conv(features, (2, 3), padding=((1, 0), (1, 1)))(h)

        h = down(x, 8)
        for _ in range(2):
            a = down(concat_elu(h), 8)
            a = nn.Dropout(0.5, deterministic=False)(concat_elu(a))
            a, b = jnp.split(down(a, 16), 2, axis=-1)
            h = h + a * nn.sigmoid(b)
        return nn.Conv(3 * self.mixtures, (1, 1))(concat_elu(h))


# 2 in each of 2 blocks and 1 at the end are elu of twice the channels; 1 gate in each block.
# The discretised logistic likelihood has cumulative distributions and softplus, and none of that is a layer
@expect(elu=5, sigmoid=2)
def linen_pixelcnn_likelihood():
    model = PixelCNN()

    def loss(variables, rng, x):
        out = model.apply(variables, x, rngs={"dropout": rng})
        logits, means, log_scales = jnp.split(out, 3, axis=-1)
        log_scales = jnp.maximum(log_scales, -7.0)
        centred, inverse = x - means, jnp.exp(-log_scales)
        plus, minus, mid = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255), inverse * centred
        delta = jax.nn.sigmoid(plus) - jax.nn.sigmoid(minus)
        log_plus, log_minus = plus - jax.nn.softplus(plus), -jax.nn.softplus(minus)
        log_mid = mid - log_scales - 2.0 * jax.nn.softplus(mid)
        inner = jnp.where(delta > 1e-5, jnp.log(jnp.maximum(delta, 1e-12)), log_mid - jnp.log(127.5))
        log_probs = jnp.where(x < -0.999, log_plus, jnp.where(x > 0.999, log_minus, inner))
        return -jnp.mean(jax.nn.logsumexp(log_probs + jax.nn.log_softmax(logits), axis=-1))

    x = f32(2, 6, 6, 1)
    return loss, (jax.eval_shape(model.init, {"params": key(), "dropout": key()}, x), key(), x)


def leaky(x):
    return jax.nn.leaky_relu(x, 0.2) * jnp.sqrt(2.0)


class StyleCritic(nn.Module):
    @nn.compact
    def __call__(self, x):
        for features in (4, 8):
            x = leaky(nn.Conv(features, (3, 3), strides=2)(x))
        groups = x.reshape(2, -1, *x.shape[1:])
        spread = jnp.sqrt(jnp.maximum(jnp.mean(groups**2, 0) - jnp.mean(groups, 0) ** 2, 0.0) + 1e-8)
        spread = jnp.broadcast_to(spread.mean(axis=(1, 2, 3), keepdims=True), (x.shape[0] // 2, *x.shape[1:3], 1))
        x = jnp.concatenate([x, jnp.tile(spread, (2, 1, 1, 1))], axis=-1)
        x = leaky(nn.Conv(8, (3, 3))(x))
        return nn.Dense(1)(leaky(nn.Dense(8)(x.reshape(x.shape[0], -1))))


# StyleGAN2's critic, 4 layers: on fake, on real, and in the gradient of R1; a deviation is clamped before its root,
# non-saturating losses are softplus
@expect(leaky_relu=12)
def linen_stylegan2_critic_loss():
    critic = StyleCritic()

    def loss(variables, real, fake):
        score = lambda x: critic.apply(variables, x)  # noqa: E731
        adversarial = jnp.mean(jax.nn.softplus(score(fake))) + jnp.mean(jax.nn.softplus(-score(real)))
        gradient = jax.grad(lambda x: jnp.sum(score(x)))(real)
        penalty = jnp.mean(jnp.sum(gradient**2, axis=(1, 2, 3)))
        return adversarial + 5.0 * penalty

    x = f32(4, 8, 8, 3)
    return loss, (jax.eval_shape(critic.init, key(), x), x, x)


# finite scalar quantisation: encoder 1, bound 1 (a tanh), decoder 1; rounding with a straight-through gradient
@expect(gelu=2, tanh=1)
def plain_finite_scalar_quantiser():
    levels = jnp.array([7.0, 5.0, 5.0])

    def loss(params, x):
        z = mlp(params["encoder"], x, jax.nn.gelu)
        half = (levels - 1) * (1 - 1e-3) / 2
        offset = jnp.where(levels % 2 == 1, 0.0, 0.5)
        bounded = jnp.tanh(z + jnp.tan(offset / half)) * half - offset
        quantised = bounded + jax.lax.stop_gradient(jnp.round(bounded) - bounded)
        out = mlp(params["decoder"], quantised / (levels // 2), jax.nn.gelu)
        return jnp.mean(jnp.log(jnp.cosh(out - x)))

    return of_plain(
        loss, lambda k: {"encoder": linear_init(k, 8, 16, 3), "decoder": linear_init(k, 3, 16, 8)}, f32(6, 8)
    )


# count model of single cells: relu behind the norm in encoder and decoder; the zero-inflated likelihood has softplus
@expect(relu=2)
def plain_scvi_zinb():
    def norm(h):
        return (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-3)

    def loss(params, counts, rng):
        h = jax.nn.relu(norm(linear(params["encoder"], jnp.log1p(counts))))
        mean, log_var = jnp.split(linear(params["moments"], h), 2, axis=-1)
        z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(rng, mean.shape)
        h = jax.nn.relu(norm(linear(params["decoder"], z)))
        mu = jax.nn.softmax(linear(params["scale"], h)) * counts.sum(-1, keepdims=True)
        pi, theta = linear(params["dropout"], h), jnp.exp(params["theta"])
        log_theta_mu = jnp.log(theta + mu + 1e-8)
        soft = jax.nn.softplus(-pi)
        zero = -pi + theta * (jnp.log(theta + 1e-8) - log_theta_mu)
        case_zero = (counts < 1e-8) * (jax.nn.softplus(zero) - soft)
        positive = zero - soft + counts * (jnp.log(mu + 1e-8) - log_theta_mu)
        positive += jax.lax.lgamma(counts + theta) - jax.lax.lgamma(theta) - jax.lax.lgamma(counts + 1)
        log_prob = jnp.sum(case_zero + (counts > 1e-8) * positive, axis=-1)
        divergence = 0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=-1)
        return jnp.mean(divergence - log_prob)

    def init(k):
        shapes = {"encoder": (9, 16), "moments": (16, 8), "decoder": (4, 16), "scale": (16, 9), "dropout": (16, 9)}
        return {n: linear_init(k, a, b)[0] for n, (a, b) in shapes.items()} | {"theta": jnp.zeros((1, 9))}

    return of_plain(loss, init, f32(6, 9), key())
