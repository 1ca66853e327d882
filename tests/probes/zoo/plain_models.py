"""Plain JAX: dictionaries of arrays, and activations written by hand."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from .entry import expect, f32, i32, of_plain
from .layers import linear, linear_init, mlp


def gelu_gpt2(x):
    return 0.5 * x * (1 + jnp.tanh(jnp.sqrt(2 / jnp.pi) * (x + 0.044715 * x**3)))


def layer_norm(p, x):
    mean, variance = jnp.mean(x, axis=-1, keepdims=True), jnp.var(x, axis=-1, keepdims=True)
    return p["g"] * (x - mean) / jnp.sqrt(variance + 1e-5) + p["b"]


def gpt2_init(key, depth, dim=32, vocab=64, length=16):
    def block(key):
        keys = jax.random.split(key, 4)
        ln = {"g": jnp.ones(dim), "b": jnp.zeros(dim)}
        shapes = {"qkv": (dim, 3 * dim), "out": (dim, dim), "up": (dim, 4 * dim), "down": (4 * dim, dim)}
        dense = {
            name: {"w": 0.02 * jax.random.normal(k, shape), "b": jnp.zeros(shape[1])}
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        return {"ln1": ln, "ln2": ln, **dense}

    first, second, third = jax.random.split(key, 3)
    return {
        "wte": 0.02 * jax.random.normal(first, (vocab, dim)),
        "wpe": 0.01 * jax.random.normal(second, (length, dim)),
        "blocks": jax.vmap(block)(jax.random.split(third, depth)),
        "ln": {"g": jnp.ones(dim), "b": jnp.zeros(dim)},
    }


def gpt2_block(block, x, heads=4):
    batch, length, dim = x.shape
    qkv = linear(block["qkv"], layer_norm(block["ln1"], x)).reshape(batch, length, 3, heads, dim // heads)
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(dim // heads)
    scores = jnp.where(jnp.tril(jnp.ones((length, length))) > 0, scores, -1e10)
    scores = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    weights = scores / jnp.sum(scores, axis=-1, keepdims=True)
    x = x + linear(block["out"], jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape))
    return x + linear(block["down"], gelu_gpt2(linear(block["up"], layer_norm(block["ln2"], x))))


# the body of the scan, which runs 5 times
@expect(gelu=1, executions=5)
def plain_gpt2_scan_checkpoint():
    def forward(params, tokens):
        x = params["wte"][tokens] + params["wpe"]
        body = jax.checkpoint(lambda x, block: (gpt2_block(block, x), None))
        x, _ = jax.lax.scan(body, x, params["blocks"])
        return layer_norm(params["ln"], x) @ params["wte"].T

    return of_plain(forward, lambda key: gpt2_init(key, 5), i32(2, 16))


def rms_norm(scale, x):
    return scale * x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


def rope(x):
    half = x.shape[-1] // 2
    angles = jnp.arange(x.shape[1])[:, None] / 10_000 ** (jnp.arange(half) / half)
    rotation = jnp.exp(1j * angles)[None, :, None]
    rotated = jax.lax.complex(x[..., :half], x[..., half:]) * rotation
    return jnp.concatenate([rotated.real, rotated.imag], axis=-1)


# x * sigmoid(x) is one gate in each of 3 blocks
@expect(silu=3)
def plain_llama_grouped_queries():
    def block_init(key, dim=32, hidden=48):
        shapes = {"q": (dim, 32), "kv": (dim, 32), "o": (32, dim), "gate": (dim, hidden), "up": (dim, hidden)}
        shapes["down"] = (hidden, dim)
        keys = jax.random.split(key, len(shapes))
        pairs = zip(keys, shapes.items(), strict=True)
        weights = {name: jax.random.normal(k, s) / jnp.sqrt(s[0]) for k, (name, s) in pairs}
        return weights | {"norm1": jnp.ones(dim), "norm2": jnp.ones(dim)}

    def block(p, x):
        h = rms_norm(p["norm1"], x)
        q = (h @ p["q"]).reshape(*x.shape[:2], 4, 8)
        k, v = jnp.split((h @ p["kv"]).reshape(*x.shape[:2], 4, 8), 2, axis=2)
        k, v = jnp.repeat(rope(k), 2, axis=2), jnp.repeat(v, 2, axis=2)
        scores = jnp.einsum("bqhd,bkhd->bhqk", rope(q), k) / jnp.sqrt(8)
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))
        x = x + jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*x.shape[:2], -1) @ p["o"]
        h = rms_norm(p["norm2"], x)
        gate = h @ p["gate"]
        return x + ((gate * jax.nn.sigmoid(gate)) * (h @ p["up"])) @ p["down"]

    def forward(params, tokens):
        x = params["embed"][tokens]
        for p in params["blocks"]:
            x = block(p, x)
        return x @ params["embed"].T

    def init(key):
        return {"embed": jax.random.normal(key, (64, 32)), "blocks": [block_init(k) for k in jax.random.split(key, 3)]}

    return of_plain(forward, init, i32(2, 8))


# the experts share one activation under vmap; the gates are a softmax
@expect(gelu=1)
def plain_moe_top2_dense():
    def forward(params, x):
        logits = x @ params["router"]
        values, chosen = jax.lax.top_k(logits, 2)
        gates = jnp.zeros_like(logits).at[jnp.arange(x.shape[0])[:, None], chosen].set(jax.nn.softmax(values))
        outputs = jax.vmap(lambda expert: mlp(expert, x, jax.nn.gelu))(params["experts"])
        density = jnp.mean(jax.nn.one_hot(chosen[:, 0], 4), axis=0)
        balance = 4 * jnp.sum(density * jnp.mean(jax.nn.softmax(logits), axis=0))
        return jnp.einsum("te,etd->td", gates, outputs), balance

    def init(key):
        experts = jax.vmap(lambda k: linear_init(k, 8, 16, 8))(jax.random.split(key, 4))
        return {"router": jnp.zeros((8, 4)), "experts": experts}

    return of_plain(forward, init, f32(10, 8))


# the message and the update of each of 3 rounds, 1 in the readout; degrees and masks are none
@expect(relu=7)
def plain_message_passing():
    def forward(params, nodes, edges, senders, receivers, mask):
        degree = jnp.maximum(jax.ops.segment_sum(jnp.ones_like(senders, jnp.float32), receivers, nodes.shape[0]), 1.0)
        for layer in params["rounds"]:
            inputs = jnp.concatenate([nodes[senders], nodes[receivers], edges], axis=-1)
            messages = jax.nn.relu(linear(layer["message"], inputs))
            received = jax.ops.segment_sum(messages, receivers, nodes.shape[0]) / degree[:, None]
            nodes = jax.nn.relu(linear(layer["update"], jnp.concatenate([nodes, received], axis=-1)))
            nodes = nodes * (mask > 0)[:, None]
        return mlp(params["readout"], jnp.sum(nodes, axis=0, keepdims=True), jax.nn.relu)

    def init(key):
        [message], [update] = linear_init(key, 8 + 8 + 2, 16), linear_init(key, 8 + 16, 8)
        return {"rounds": [{"message": message, "update": update}] * 3, "readout": linear_init(key, 8, 8, 1)}

    return of_plain(forward, init, f32(10, 8), f32(24, 2), i32(24), i32(24), f32(10))


# graph attention: leaky_relu on the scores of each of 2 layers, elu between them
@expect(leaky_relu=2, elu=1)
def plain_graph_attention():
    def layer(p, nodes, senders, receivers):
        count = nodes.shape[0]
        h = jnp.einsum("nd,dhk->nhk", nodes, p["w"])
        scores = jnp.sum(h[senders] * p["from"] + h[receivers] * p["to"], axis=-1)
        scores = jax.nn.leaky_relu(scores, 0.2)
        scores = jnp.exp(scores - jax.ops.segment_max(scores, receivers, count)[receivers])
        weights = scores / (jax.ops.segment_sum(scores, receivers, count)[receivers] + 1e-16)
        return jax.ops.segment_sum(weights[..., None] * h[senders], receivers, count).reshape(count, -1)

    def forward(params, nodes, senders, receivers):
        nodes = jax.nn.elu(layer(params[0], nodes, senders, receivers))
        return layer(params[1], nodes, senders, receivers)

    def init(key):
        return [{"w": jnp.ones((8, 2, 4)), "from": jnp.ones((2, 4)), "to": jnp.ones((2, 4))} for _ in range(2)]

    return of_plain(forward, init, f32(10, 8), i32(24), i32(24))


# RealNVP, 4 couplings: 2 hidden relu and the tanh of the log-scale in each
@expect(relu=8, tanh=4)
def plain_coupling_flow():
    def log_likelihood(params, x):
        log_det = 0.0
        for i, layers in enumerate(params):
            a, b = jnp.split(x, 2, axis=-1)
            a, b = (a, b) if i % 2 == 0 else (b, a)
            log_scale, shift = jnp.split(mlp(layers, a, jax.nn.relu), 2, axis=-1)
            log_scale = jnp.tanh(log_scale)
            b = b * jnp.exp(log_scale) + shift
            log_det = log_det + jnp.sum(log_scale, axis=-1)
            x = jnp.concatenate([a, b] if i % 2 == 0 else [b, a], axis=-1)
        return norm.logpdf(x).sum(axis=-1) + log_det

    return of_plain(log_likelihood, lambda key: [linear_init(key, 3, 16, 16, 6) for _ in range(4)], f32(5, 6))


# sines only
@expect()
def plain_siren():
    def forward(params, x):
        return mlp(params, x, lambda h: jnp.sin(30 * h))

    return of_plain(forward, lambda key: linear_init(key, 2, 16, 16, 16, 3), f32(8, 2))


# 2 hidden layers and the last of phi, 1 hidden layer of rho; rows beyond the length are masked
@expect(relu=4)
def plain_deep_sets():
    def forward(params, x, lengths):
        mask = jnp.arange(x.shape[1])[None, :] < lengths[:, None]
        h = jnp.maximum(mlp(params["phi"], x, lambda h: jnp.maximum(h, 0)), 0.0)
        pooled = jnp.sum(jnp.where(mask[..., None], h, 0), axis=1) / jnp.maximum(lengths, 1)[:, None]
        return mlp(params["rho"], pooled, jax.nn.relu)

    def init(key):
        return {"phi": linear_init(key, 3, 16, 16, 16), "rho": linear_init(key, 16, 16, 1)}

    return of_plain(forward, init, f32(4, 7, 3), i32(4))


# 3 layers with a carry gate each; the temperature is a parameter, so its softplus is none
@expect(relu=3, sigmoid=3)
def plain_highway():
    def forward(params, x):
        for transform, gate in zip(params["transforms"], params["gates"], strict=True):
            t = jax.nn.sigmoid(linear(gate, x))
            x = t * jax.nn.relu(linear(transform, x)) + (1 - t) * x
        return x / jax.nn.softplus(params["temperature"])

    def init(key):
        layers = linear_init(key, 8, 8, 8, 8)
        return {"transforms": layers, "gates": layers, "temperature": jnp.zeros(8)}

    return of_plain(forward, init, f32(3, 8))


# a batch norm written by hand, with its variance clamped, between 3 convolutions; the third gets the sum
@expect(relu=3)
def plain_convnet_batchnorm():
    def batch_norm(p, x):
        mean = jnp.mean(x, axis=(0, 1, 2))
        variance = jnp.maximum(jnp.mean(jnp.square(x), axis=(0, 1, 2)) - jnp.square(mean), 0.0)
        return (x - mean) * (jax.lax.rsqrt(variance + 1e-5) * p["scale"]) + p["offset"]

    def conv(kernel, x):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def forward(params, x):
        for p in params["layers"]:
            x = jnp.maximum(batch_norm(p, conv(p["kernel"], x)), 0.0)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return jnp.mean(x, axis=(1, 2)) @ params["head"]

    def init(key):
        def layer(a, b):
            return {"kernel": jax.random.normal(key, (3, 3, a, b)), "scale": jnp.ones(b), "offset": jnp.zeros(b)}

        return {"layers": [layer(3, 8), layer(8, 8), layer(8, 8)], "head": jnp.zeros((8, 10))}

    return of_plain(forward, init, f32(2, 8, 8, 3))


# token mix: the receptance of each of 2 layers; channel mix: its receptance, and a squared relu
@expect(sigmoid=4, relu=2)
def plain_rwkv():
    def shift(x):
        return jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]

    def time_mix(p, x):
        h = rms_norm(p["norm1"], x)
        h = p["mix"] * h + (1 - p["mix"]) * shift(h)
        r, k, v = jax.nn.sigmoid(h @ p["r"]), h @ p["k"], h @ p["v"]
        decay = jnp.exp(-jnp.exp(p["decay"]))

        def step(carry, kv):
            top, bottom = carry
            k, v = kv
            out = (top + jnp.exp(p["first"] + k) * v) / (bottom + jnp.exp(p["first"] + k))
            return (decay * top + jnp.exp(k) * v, decay * bottom + jnp.exp(k)), out

        zeros = jnp.zeros_like(k[:, 0])
        _, y = jax.lax.scan(step, (zeros, zeros), (k.swapaxes(0, 1), v.swapaxes(0, 1)))
        return x + (r * y.swapaxes(0, 1)) @ p["o"]

    def channel_mix(p, x):
        h = rms_norm(p["norm2"], x)
        k = jnp.square(jax.nn.relu(h @ p["k2"]))
        return x + jax.nn.sigmoid(h @ p["r2"]) * (k @ p["v2"])

    def forward(params, tokens):
        x = params["embed"][tokens]
        for p in params["layers"]:
            x = channel_mix(p, time_mix(p, x))
        return x @ params["embed"].T

    def init(key):
        vectors = dict.fromkeys(("norm1", "norm2", "mix", "decay", "first"), jnp.ones(8))
        matrices = {name: jax.random.normal(key, (8, 8)) for name in ("r", "k", "v", "o", "r2")}
        hidden = {"k2": jnp.ones((8, 32)), "v2": jnp.ones((32, 8))}
        return {"embed": jax.random.normal(key, (64, 8)), "layers": [vectors | matrices | hidden] * 2}

    return of_plain(forward, init, i32(2, 6))


# encoder 2, decoder 1 before its tanh; the codes are picked by argmin
@expect(relu=3, tanh=1)
def plain_vq_vae():
    def forward(params, x):
        z = mlp(params["encoder"], x, lambda h: h * (h > 0))
        codes = params["codes"]
        distances = jnp.sum(z**2, axis=-1, keepdims=True) - 2 * z @ codes.T + jnp.sum(codes**2, axis=-1)
        quantised = codes[jnp.argmin(distances, axis=-1)]
        straight_through = z + jax.lax.stop_gradient(quantised - z)
        commitment = jnp.mean((jax.lax.stop_gradient(quantised) - z) ** 2)
        return jnp.tanh(mlp(params["decoder"], straight_through, jax.nn.relu)), commitment

    def init(key):
        codes = jax.random.normal(key, (12, 4))
        return {"encoder": linear_init(key, 16, 32, 32, 4), "decoder": linear_init(key, 4, 32, 16), "codes": codes}

    return of_plain(forward, init, f32(5, 16))


# relu in one branch and tanh in the other
@expect(relu=1, tanh=1)
def plain_cond():
    def forward(params, x, early):
        def first(h):
            return jax.nn.relu(linear(params[0], h))

        def second(h):
            return jnp.tanh(linear(params[0], h))

        return linear(params[1], jax.lax.cond(early, first, second, x))

    return of_plain(forward, lambda key: linear_init(key, 8, 8, 8), f32(3, 8), jax.ShapeDtypeStruct((), bool))


# the cell of a deep equilibrium, iterated until it rests
@expect(tanh=1)
def plain_equilibrium():
    def forward(params, x):
        injected = linear(params[0], x)

        def unrest(state):
            h, before, count = state
            return (jnp.max(jnp.abs(h - before)) > 1e-4) & (count < 50)

        def step(state):
            h, _, count = state
            return jnp.tanh(linear(params[1], h) + injected), h, count + 1

        h, *_ = jax.lax.while_loop(unrest, step, (jnp.zeros_like(injected), jnp.ones_like(injected), 0))
        return linear(params[2], h)

    return of_plain(forward, lambda key: linear_init(key, 8, 16, 16, 4), f32(3, 8))
