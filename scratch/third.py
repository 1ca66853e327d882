"""Third draw of unseen models, counted by hand before their first run."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx

from zoo.entry import expect, f32, i32, key, of_equinox, of_haiku, of_linen, of_nnx, of_plain
from zoo.layers import linear, linear_init, mlp


# score distillation with classifier-free guidance: both branches at once, 2 SiLU; thresholding is a clip by a quantile
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


# a squeeze-excited, inverted bottleneck by hand: hard swish as in the paper, relu6(x + 3) / 6; 3 hard swish, 1 gate
@expect(hard_silu=2, relu=1, hard_sigmoid=1)
def linen_inverted_bottleneck():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            h_sigmoid = lambda x: nn.relu6(x + 3.0) / 6.0  # noqa: E731
            h_swish = lambda x: x * h_sigmoid(x)  # noqa: E731
            h = h_swish(nn.BatchNorm(use_running_average=False)(nn.Conv(8, (1, 1))(x)))
            h = h_swish(nn.BatchNorm(use_running_average=False)(nn.Conv(8, (3, 3), feature_group_count=8)(h)))
            s = nn.Dense(8)(nn.relu(nn.Dense(2)(h.mean((1, 2)))))
            return x + nn.Conv(4, (1, 1))(h * h_sigmoid(s)[:, None, None])

    return of_linen(Block(), f32(2, 6, 6, 4))


# RetNet: a gate by swish behind a group norm, decay in log space, GELU; 2 layers scanned over stacked parameters
@expect(silu=1, gelu=1, executions=4)
def plain_retention_scan():
    def layer(x, p):
        q, k, v, g = jnp.split(x @ p["qkvg"], 4, axis=-1)
        n = jnp.arange(x.shape[1])
        gap = (n[:, None] - n[None]).astype(x.dtype)
        decay = jnp.where(gap >= 0, 0.9 ** jnp.maximum(gap, 0), 0.0)
        score = jnp.einsum("btd,bsd->bts", q, k) * decay
        score = score / jnp.maximum(jnp.abs(score.sum(-1, keepdims=True)), 1.0)
        y = jnp.einsum("bts,bsd->btd", score, v).reshape(*x.shape[:2], 2, 4)
        y = (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1e-5)
        x = x + (jax.nn.swish(g) * y.reshape(x.shape)) @ p["out"]
        return x + jax.nn.gelu(x @ p["up"]) @ p["down"], None

    shapes = {"qkvg": (8, 32), "out": (8, 8), "up": (8, 16), "down": (16, 8)}
    init = lambda k: {n: jnp.ones((2, *s)) for n, s in shapes.items()}  # noqa: E731
    return of_plain(lambda p, x: jax.lax.scan(layer, x, p)[0], init, f32(2, 5, 8))


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


# heteroscedastic forecasts: the scale is a softplus, the likelihood is Student's t by hand; an LSTM of the library, 4
# steps (3 sigmoid, 2 tanh); degrees of freedom are 2 + softplus
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


# a graph transformer with pair bias by equinox under vmap: CELU in 2 layers, written with where; a mask of -inf; the
# readout is a sum with a gate by sigmoid
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


# an LSTM whose hidden state is bounded by hard tanh is none; a liquid time constant: tanh of the synapse, softplus of
# data for the time constant, solved by 3 Euler steps in a fori_loop inside a scan of 4
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


# segmentation by a U-shaped state with Lovász and boundary terms: sorting, a hinge per pixel; leaky in 2 layers by
# nnx, with spectral normalisation of weights by a power iteration (norms are clamped)
@expect(leaky_relu=2)
def nnx_lovasz_spectral_norm():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in ((4, 8), (8, 8), (8, 1))])
            self.u = nnx.BatchStat(jnp.ones(8))

        def __call__(self, x):
            for layer in self.layers[:-1]:
                w, u = layer.kernel[...], self.u[...]
                v = w @ u
                v = v / jnp.maximum(jnp.linalg.norm(v), 1e-12)
                sigma = jax.lax.stop_gradient(v) @ w @ u
                x = jax.nn.leaky_relu(x @ (w / sigma) + layer.bias[...], 0.1)
            return self.layers[-1](x)[..., 0]

        def loss(self, x, y):
            logits = self(x)
            signs = 2.0 * y - 1.0
            errors = 1.0 - logits * signs
            order = jnp.argsort(-errors, axis=-1)
            errors, truth = jnp.take_along_axis(errors, order, -1), jnp.take_along_axis(y, order, -1)
            total = truth.sum(-1, keepdims=True)
            jaccard = 1 - (total - jnp.cumsum(truth, -1)) / (total + jnp.cumsum(1 - truth, -1))
            gradient = jnp.concatenate([jaccard[:, :1], jnp.diff(jaccard, axis=-1)], -1)
            return jnp.mean(jnp.sum(jax.nn.relu(errors) * jax.lax.stop_gradient(gradient), -1))

    return of_nnx(lambda: Net(nnx.Rngs(0)), f32(2, 6, 4), f32(2, 6), method=lambda m, x, y: m.loss(x, y))
