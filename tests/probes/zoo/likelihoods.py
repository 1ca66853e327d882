"""Networks of densities, rates and critics, with their likelihoods."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, key, of_equinox, of_haiku, of_nnx, of_plain
from .layers import linear, linear_init, mlp


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


# quantiles of a return: 2 ReLU behind norms in each of policy, critic and target; the action is a tanh; the temperature
# is a softplus of a parameter; quantile, Huber and expectile losses are none
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


# EDM's denoiser, sampled by Heun's method in a while loop: 1 of the time and 2 of the trunk at either stage
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


# a codec of speech: the encoder has a snake, which is none that is known, and ends in an ELU; residual codes; critics
# have 2 leaky ReLU in each of 2 scales, on real and on fake; hinges by ReLU and the matching of features are none
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


# guidance without a classifier: 2 SiLU for both branches at once; the threshold is a clip by a quantile
@expect(silu=2)
def plain_guided_denoising():
    def forward(p, x, cond, t):
        both = jnp.concatenate([x, x]), jnp.concatenate([cond, jnp.zeros_like(cond)])
        out = mlp(p, jnp.concatenate([*both, jnp.full((2 * len(x), 1), t)], -1), jax.nn.silu)
        with_, without = jnp.split(out, 2)
        guess = without + 3.0 * (with_ - without)
        clean = (x - 0.6 * guess) / 0.8
        most = jnp.maximum(jnp.quantile(jnp.abs(clean), 0.9, axis=-1, keepdims=True), 1.0)
        return jnp.clip(clean, -most, most) / most

    return of_plain(forward, lambda k: linear_init(k, 7, 8, 8, 3), f32(4, 3), f32(4, 3), f32())


# a twin critic of TD3: the target policy is a tanh of 1 ReLU layer, with clipped noise; 1 ReLU in each of two critics,
# online and target; the value is bounded; conservative terms are a logsumexp
@expect(relu=5, tanh=1)
def haiku_td3_cql():
    def loss(state, action, reward, after):
        q = [hk.nets.MLP([8, 1], name=f"q{i}") for i in range(2)]
        target = [hk.nets.MLP([8, 1], name=f"t{i}") for i in range(2)]
        noise = jnp.clip(0.2 * jax.random.normal(hk.next_rng_key(), action.shape), -0.5, 0.5)
        policy = hk.nets.MLP([8, 2], name="pi")
        next_action = jnp.clip(jnp.tanh(policy(after)) + noise, -1, 1)
        inputs = jnp.concatenate([after, next_action], -1)
        goal = reward + 0.99 * jnp.minimum(*(t(inputs)[:, 0] for t in target))
        now = [f(jnp.concatenate([state, action], -1))[:, 0] for f in q]
        td = sum(jnp.mean((n - jax.lax.stop_gradient(goal)) ** 2) for n in now)
        return td + 0.1 * sum(jax.nn.logsumexp(n) - n.mean() for n in now)

    return of_haiku(loss, f32(5, 4), f32(5, 2), f32(5), f32(5, 4))


# forecasts: an LSTM of the library over 4 steps; the scale and the degrees of freedom of Student's t are softplus
@expect(softplus=2, sigmoid=3, tanh=2, executions=2 + 5 * 4)
def linen_deepar_student_loss():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.RNN(nn.OptimizedLSTMCell(6))(x)
            raw = nn.Dense(3)(h)
            return raw[..., 0], nn.softplus(raw[..., 1]), 2.0 + nn.softplus(raw[..., 2])

    model = Net()

    def loss(v, x, y):
        loc, scale, df = model.apply(v, x)
        z = (y - loc) / scale
        part = 0.5 * (df + 1) * jnp.log1p(z**2 / df) + jnp.log(scale) + 0.5 * jnp.log(df)
        return jnp.mean(part + jax.lax.lgamma(0.5 * df) - jax.lax.lgamma(0.5 * (df + 1)))

    x = f32(3, 4, 2)
    return loss, (jax.eval_shape(model.init, key(), x), x, f32(3, 4))
