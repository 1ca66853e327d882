"""Second draw of unseen models, counted by hand before their first run."""

import functools

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from zoo.entry import expect, f32, i32, key, of_equinox, of_haiku, of_linen, of_nnx, of_plain
from zoo.layers import linear, linear_init, mlp


# masked autoregressive flow: 2 tanh layers behind masked weights in each of 3 steps; a sigmoid squeezes the data's end
# by its softplus, which is a term of the likelihood, of each example
@expect(tanh=6)
def plain_maf_log_prob():
    def log_prob(params, x):
        total = -jax.nn.softplus(x).sum(-1) - jax.nn.softplus(-x).sum(-1)
        for p in params:
            h = x
            for layer, mask in zip(p["layers"][:-1], p["masks"], strict=False):
                h = jnp.tanh(h @ (layer["w"] * mask) + layer["b"])
            shift, log_scale = jnp.split(linear(p["layers"][-1], h), 2, axis=-1)
            x = (x - shift) * jnp.exp(-log_scale)
            total = total - log_scale.sum(-1)
            x = x[:, ::-1]
        return total + jax.scipy.stats.norm.logpdf(x).sum(-1)

    def init(k):
        one = {"layers": linear_init(k, 3, 8, 8, 6), "masks": [jnp.ones((3, 8)), jnp.ones((8, 8))]}
        return [one] * 3

    return of_plain(log_prob, init, f32(5, 3))


# neural process of events: the LSTM by hand has 3 gates in one sigmoid and 2 tanh, over 6 events; the intensity is a
# softplus with a learnt sharpness, in the logarithm and in the integral
@expect(sigmoid=1, tanh=2, softplus=2, executions=3 * 6 + 2)
def plain_neural_hawkes_likelihood():
    def loss(p, times, kinds):
        gaps = jnp.diff(times, axis=1, prepend=0.0)

        def step(state, inputs):
            h, c = state
            gap, kind = inputs
            x = jnp.concatenate([p["embed"][kind], gap[:, None], h], -1)
            gates, new = jnp.split(linear(p["lstm"], x), [18], axis=-1)
            i, f, o = jnp.split(jax.nn.sigmoid(gates), 3, axis=-1)
            c = f * c + i * jnp.tanh(new)
            h = o * jnp.tanh(c)
            return (h, c), h

        start = jnp.zeros((len(times), 6)), jnp.zeros((len(times), 6))
        _, h = jax.lax.scan(step, start, (gaps.T, kinds.T))
        sharp = jnp.exp(p["sharp"])
        rate = sharp * jax.nn.softplus(linear(p["rate"], h) / sharp)
        happened = jnp.take_along_axis(rate, kinds.T[..., None], -1)[..., 0]
        between = sharp * jax.nn.softplus(linear(p["rate"], 0.5 * (h[1:] + h[:-1])) / sharp)
        integral = jnp.sum(between.sum(-1) * gaps.T[1:], axis=0)
        return jnp.mean(integral - jnp.sum(jnp.log(happened + 1e-9), axis=0))

    def init(k):
        return {"embed": jnp.ones((3, 4)), "lstm": linear_init(k, 11, 24)[0], "rate": linear_init(k, 6, 3)[0], "sharp": jnp.zeros(3)}

    return of_plain(loss, init, f32(4, 6), i32(4, 6))


class Swin(nn.Module):
    """Windows, a bias of positions by a small network of coordinates, cosine attention."""

    dim: int = 8

    @nn.compact
    def __call__(self, x):
        b, n, _ = x.shape
        qkv = nn.Dense(3 * self.dim)(x).reshape(b, n, 3, 2, -1)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        q = q / jnp.maximum(jnp.linalg.norm(q, axis=-1, keepdims=True), 1e-6)
        k = k / jnp.maximum(jnp.linalg.norm(k, axis=-1, keepdims=True), 1e-6)
        scale = jnp.exp(jnp.minimum(self.param("scale", nn.initializers.ones, (2, 1, 1)), jnp.log(100.0)))
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * scale
        table = jnp.linspace(-1, 1, 2 * n - 1)[:, None]
        table = jnp.sign(table) * jnp.log2(1 + jnp.abs(table) * 8) / 3
        bias = nn.Dense(2, use_bias=False)(nn.relu(nn.Dense(16)(table)))
        index = jnp.arange(n)[:, None] - jnp.arange(n)[None] + n - 1
        logits = logits + 16 * nn.sigmoid(bias[index]).transpose(2, 0, 1)
        x = x + nn.LayerNorm()(nn.Dense(self.dim)(jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(logits), v).reshape(b, n, -1)))
        return x + nn.LayerNorm()(nn.Dense(self.dim)(nn.gelu(nn.Dense(4 * self.dim)(x), approximate=False)))


# 2 blocks of a GELU each; the network of the bias is a function of the parameters alone and is listed
@expect(gelu=2)
def linen_swin_v2():
    return of_linen(nn.Sequential([Swin(), Swin()]), f32(2, 4, 8))


# Switch routing by a scan over 2 layers, with dispatch and capacity: ReLU of all experts; jitter, losses and ranks none
@expect(relu=1, executions=2)
def plain_switch_capacity_scan():
    def layer(x, p):
        probs = jax.nn.softmax(x @ p["router"])
        expert = jnp.argmax(probs, -1)
        hot = jax.nn.one_hot(expert, 3)
        rank = jnp.cumsum(hot, axis=0) * hot
        kept = hot * (rank <= 4)
        place = jax.nn.one_hot((jnp.maximum(rank - 1, 0)).sum(-1).astype(jnp.int32), 4)
        dispatch = kept[:, :, None] * place[:, None, :]
        inputs = jnp.einsum("td,tec->ecd", x, dispatch)
        h = jnp.einsum("ecd,edf->ecf", inputs, p["up"])
        out = jnp.einsum("ecf,efd->ecd", jax.nn.relu(h), p["down"])
        gate = jnp.max(probs * hot, axis=-1)
        y = jnp.einsum("tec,ecd->td", dispatch, out) * gate[:, None]
        balance = 3 * jnp.sum(hot.mean(0) * probs.mean(0))
        z = jnp.mean(jax.nn.logsumexp(x @ p["router"], -1) ** 2)
        return x + y, (balance, z)

    def forward(params, x):
        x, (balance, z) = jax.lax.scan(layer, x, params)
        return x, balance.sum() + 1e-3 * z.sum()

    init = lambda k: {"router": jnp.ones((2, 4, 3)), "up": jnp.ones((2, 3, 4, 8)), "down": jnp.ones((2, 3, 8, 4))}  # noqa: E731
    return of_plain(forward, init, f32(7, 4))


# decision transformer's relatives: an agent with distributional critic (quantile Huber), layer norms and a target: 2
# relu behind norms each for online, target and the policy, whose action is a tanh; temperatures are softplus of
# parameters
@expect(relu=6, tanh=1)
def haiku_quantile_critic():
    def net(out, name):
        def f(x):
            for i in range(2):
                x = jax.nn.relu(hk.LayerNorm(-1, True, True, name=f"{name}_n{i}")(hk.Linear(8, name=f"{name}_l{i}")(x)))
            return hk.Linear(out, name=f"{name}_o")(x)

        return f

    def loss(state, action, reward, after, done):
        pi, q, target = net(2, "pi"), net(5, "q"), net(5, "target")
        temperature = jax.nn.softplus(hk.get_parameter("t", (), init=jnp.ones))
        next_action = jnp.tanh(pi(after))
        z = target(jnp.concatenate([after, next_action], -1))
        goal = jax.lax.stop_gradient(reward[:, None] + 0.99 * (1 - done[:, None]) * z)
        now = q(jnp.concatenate([state, action], -1))
        u = goal[:, None, :] - now[:, :, None]
        size = jnp.abs(u)
        huber = jnp.where(size > 1, size - 0.5, 0.5 * u**2)
        tau = (jnp.arange(5) + 0.5) / 5
        rho = jnp.abs(tau[None, :, None] - (jax.lax.stop_gradient(u) < 0)) * huber
        advantage = now.mean(-1) - goal.mean(-1)
        weights = jnp.minimum(jnp.exp(advantage * temperature), 100.0)
        expectile = jnp.where(advantage > 0, 0.7, 0.3) * advantage**2
        return rho.mean(-1).sum(-1).mean() + (jax.lax.stop_gradient(weights) * expectile).mean()

    return of_haiku(loss, f32(5, 4), f32(5, 2), f32(5), f32(5, 4), f32(5))


# diffusion by EDM's preconditioning with a skip network of swish, sampled by Heun under a while loop; the time network is
# 1, the trunk 2, at either stage
@expect(silu=6)
def equinox_edm_heun_sampler():
    class Denoiser(eqx.Module):
        time: eqx.nn.MLP
        trunk: eqx.nn.MLP

        def __init__(self, k):
            a, b = jax.random.split(k)
            self.time = eqx.nn.MLP(8, 8, 8, 1, activation=jax.nn.silu, key=a)
            self.trunk = eqx.nn.MLP(10, 2, 8, 2, activation=jax.nn.silu, key=b)

        def __call__(self, x, sigma):
            skip = 0.25 / (sigma**2 + 0.25)
            out = sigma * 0.5 / jnp.sqrt(sigma**2 + 0.25)
            c = jnp.log(sigma) / 4 * 2.0 ** jnp.arange(4.0)
            t = self.time(jnp.concatenate([jnp.sin(c), jnp.cos(c)]))
            return skip * x + out * self.trunk(jnp.concatenate([x / jnp.sqrt(sigma**2 + 0.25), t]))

    def call(model, x, sigmas):
        def one(x):
            def body(state):
                i, x = state
                now, after = sigmas[i], sigmas[i + 1]
                d = (x - model(x, now)) / now
                guess = x + (after - now) * d
                safe = jnp.maximum(after, 1e-3)
                d2 = (guess - model(guess, safe)) / safe
                return i + 1, jnp.where(after > 0, x + (after - now) * 0.5 * (d + d2), guess)

            return jax.lax.while_loop(lambda s: s[0] < len(sigmas) - 1, body, (0, x))[1]

        return jax.vmap(one)(x)

    return of_equinox(Denoiser, f32(3, 2), f32(6), call=call)


# quantised latent speech: snake activations are none; a residual vector quantiser; critics have leaky_relu, 2 in each of
# 2 scales on real and fake, hinges by relu and feature matching; the encoder ends in ELU
@expect(elu=1, leaky_relu=8)
def nnx_audio_codec_critic_loss():
    def snake(x, a):
        return x + jnp.sin(a * x) ** 2 / (a + 1e-9)

    class Codec(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Param(jnp.ones(8))
            self.enc1, self.enc2 = nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 4, rngs=rngs)
            self.books = nnx.Param(rngs.normal((2, 6, 4)))
            self.dec = nnx.Linear(4, 8, rngs=rngs)
            self.critics = nnx.List([nnx.Linear(w, 6, rngs=rngs) for w in (8, 4)])
            self.more = nnx.List([nnx.Linear(6, 6, rngs=rngs) for _ in range(2)])
            self.heads = nnx.List([nnx.Linear(6, 1, rngs=rngs) for _ in range(2)])

        def critic(self, x):
            scores, features = [], []
            for i, (a, b, c) in enumerate(zip(self.critics, self.more, self.heads, strict=True)):
                h = x if i == 0 else x.reshape(len(x), 4, 2).mean(-1)
                for layer in (a, b):
                    h = nnx.leaky_relu(layer(h), 0.1)
                    features.append(h)
                scores.append(c(h))
            return scores, features

        def loss(self, x):
            z = nnx.elu(self.enc2(snake(self.enc1(x), self.a[...])))
            left, total, commit = z, jnp.zeros_like(z), 0.0
            for book in self.books[...]:
                distance = jnp.sum(left**2, -1, keepdims=True) - 2 * left @ book.T + jnp.sum(book**2, -1)
                code = book[jnp.argmin(distance, -1)]
                commit += jnp.mean((jax.lax.stop_gradient(code) - left) ** 2)
                total, left = total + code, left - jax.lax.stop_gradient(code)
            y = self.dec(z + jax.lax.stop_gradient(total - z))
            real, f_real = self.critic(x)
            fake, f_fake = self.critic(y)
            hinge = sum(jnp.mean(nnx.relu(1 - r)) + jnp.mean(nnx.relu(1 + f)) for r, f in zip(real, fake, strict=True))
            match = sum(jnp.mean(jnp.abs(a - b)) for a, b in zip(f_real, f_fake, strict=True))
            return hinge + match + commit + jnp.mean(jnp.abs(x - y))

    return of_nnx(lambda: Codec(nnx.Rngs(0)), f32(5, 8), method=lambda m, x: m.loss(x))


# survival: a Weibull whose scale and shape are softplus plus a floor, with censoring; 2 selu layers with alpha dropout
@expect(selu=2, softplus=2)
def linen_weibull_survival():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(2):
                x = nn.selu(nn.Dense(8)(x))
                x = nn.Dropout(0.1, deterministic=False)(x)
            raw = nn.Dense(2)(x)
            return nn.softplus(raw[:, 0]) + 1e-3, nn.softplus(raw[:, 1]) + 1e-3

    model = Net()

    def loss(variables, rng, x, time, event):
        scale, shape = model.apply(variables, x, rngs={"dropout": rng})
        ratio = (time / scale) ** shape
        log_hazard = jnp.log(shape) - jnp.log(scale) + (shape - 1) * (jnp.log(time + 1e-9) - jnp.log(scale))
        return -jnp.mean(event * log_hazard - ratio)

    x = f32(6, 4)
    return loss, (jax.eval_shape(model.init, {"params": key(), "dropout": key()}, x), key(), x, f32(6), f32(6))


# beta policy: concentrations are 1 + softplus of 2 tanh layers; the likelihood has log-gammas. The value is clipped
@expect(tanh=2, softplus=1)
def plain_beta_policy_loss():
    def loss(p, x, action, advantage):
        h = jnp.tanh(linear(p[1], jnp.tanh(linear(p[0], x))))
        a, b = jnp.split(1.0 + jax.nn.softplus(linear(p[2], h)), 2, axis=-1)
        action = jnp.clip(action, 1e-6, 1 - 1e-6)
        log_prob = jax.scipy.stats.beta.logpdf(action, a, b).sum(-1)
        return -jnp.mean(advantage * log_prob)

    return of_plain(loss, lambda k: linear_init(k, 4, 8, 8, 4), f32(6, 4), f32(6, 2), f32(6))


# gated Transformer-XL of RL: the gates are a GRU's, sigmoid r, sigmoid z shifted by a bias of 2, tanh h, behind attention
# and behind the feed-forward, which is relu, within remat; relative shifts are none
@expect(sigmoid=4, tanh=2, relu=2)
def plain_gtrxl_block():
    def gate(p, x, y):
        r = jax.nn.sigmoid(y @ p["wr"] + x @ p["ur"])
        z = jax.nn.sigmoid(y @ p["wz"] + x @ p["uz"] - 2.0)
        h = jnp.tanh(y @ p["wg"] + (r * x) @ p["ug"])
        return (1 - z) * x + z * h

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)

    @jax.checkpoint
    def block(p, x):
        q, k, v = jnp.split(norm(x) @ p["qkv"], 3, axis=-1)
        logits = jnp.einsum("btd,bsd->bts", q, k) + jnp.where(jnp.tril(jnp.ones((5, 5))) > 0, 0.0, -jnp.inf)
        x = gate(p["g1"], x, jax.nn.relu(jnp.einsum("bts,bsd->btd", jax.nn.softmax(logits), v)))
        return gate(p["g2"], x, jnp.where((h := norm(x) @ p["up"]) > 0, h, 0) @ p["down"])

    def init(k):
        one = {n: jnp.eye(6) for n in ("wr", "ur", "wz", "uz", "wg", "ug")}
        return {"qkv": jnp.ones((6, 18)), "g1": one, "g2": one, "up": jnp.ones((6, 12)), "down": jnp.ones((12, 6))}

    return of_plain(block, init, f32(2, 5, 6))


# predictive coding of a monotone network: weights are exponentials, hidden ones are a tanh and the derivative by jvp is
# the hazard: its softplus is behind everything and its logarithm is taken
@expect(tanh=4, softplus=2)
def plain_monotone_cumulative_hazard():
    def cumulative(p, t, h):
        x = jnp.tanh(t * jnp.exp(p["t"]) + h)
        x = jnp.tanh(x @ jnp.exp(p["w"]))
        return jax.nn.softplus(x @ jnp.exp(p["out"]))

    def loss(p, times, x):
        def one(t, x):
            f = lambda t: cumulative(p, t, x @ p["x"])  # noqa: E731
            total, hazard = jax.jvp(f, (t,), (jnp.ones_like(t),))
            return total - f(0.0 * t), hazard

        total, hazard = jax.vmap(one)(times, x)
        return jnp.mean(total - jnp.log(hazard + 1e-8))

    init = lambda k: {"t": jnp.zeros(6), "w": jnp.zeros((6, 6)), "out": jnp.zeros((6, 1)), "x": jnp.ones((3, 6))}  # noqa: E731
    return of_plain(loss, init, f32(5), f32(5, 3))


# Gumbel-softmax with a straight-through choice, an annealed temperature, and a sparse autoencoder with a jump at a
# threshold and an L1 of the codes: relu and sigmoid of the encoder, relu of the codes, whose threshold is a parameter
@expect(relu=2, sigmoid=1)
def plain_sparse_codes_gumbel():
    def loss(p, x, rng, step):
        h = jax.nn.relu(linear(p["enc"], x))
        gumbel = -jnp.log(-jnp.log(jax.random.uniform(rng, (len(x), 4), minval=1e-6, maxval=1.0)))
        temperature = jnp.maximum(0.5, jnp.exp(-1e-3 * step))
        soft = jax.nn.softmax((linear(p["choose"], h) + gumbel) / temperature)
        hard = jax.nn.one_hot(jnp.argmax(soft, -1), 4)
        choice = hard + soft - jax.lax.stop_gradient(soft)
        gate = jax.nn.sigmoid(linear(p["gate"], h))
        codes = jax.nn.relu((h * gate) @ p["up"] - p["threshold"])
        out = jnp.einsum("be,bf,efd->bd", choice, codes, p["dec"])
        return jnp.mean((out - x) ** 2) + 1e-3 * jnp.mean(jnp.sum(jnp.abs(codes), -1))

    def init(k):
        return {
            "enc": linear_init(k, 4, 8)[0], "choose": linear_init(k, 8, 4)[0], "gate": linear_init(k, 8, 8)[0],
            "up": jnp.ones((8, 12)), "threshold": jnp.ones(12), "dec": jnp.ones((4, 12, 4)),
        }

    return of_plain(loss, init, f32(5, 4), key(), i32())


# the whole step of a classifier with mixed precision and loss scaling: gelu in 2 layers in float16, label smoothing,
# top-1; the backward pass, the finite check and the scale's update are none
@expect(gelu=2)
def plain_float16_step_with_loss_scale():
    def step(params, scale, x, labels):
        def loss(params):
            half = jax.tree.map(lambda a: a.astype(jnp.float16), params)
            logits = mlp(half, x.astype(jnp.float16), functools.partial(jax.nn.gelu, approximate=False)).astype(jnp.float32)
            targets = optax.smooth_labels(jax.nn.one_hot(labels, 3), 0.1)
            value = optax.softmax_cross_entropy(logits, targets).mean()
            return value * scale, (value, jnp.mean(jnp.argmax(logits, -1) == labels))

        grads, aux = jax.grad(loss, has_aux=True)(params)
        grads = jax.tree.map(lambda g: g / scale, grads)
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(grads)]))
        new = jax.tree.map(lambda p, g: jnp.where(finite, p - 0.1 * g, p), params, grads)
        return new, jnp.where(finite, jnp.minimum(scale * 2, 2.0**15), jnp.maximum(scale / 2, 1.0)), aux

    return of_plain(step, lambda k: linear_init(k, 4, 8, 8, 3), f32(), f32(6, 4), i32(6))
