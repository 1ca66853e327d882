"""Unseen models: graphs, molecules, physics, images with their losses; equilibria and transport."""

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


# principal neighbourhood aggregation: a message and an update in each of 2 layers; the variance of the neighbours is
# clamped before its root, by a maximum in one layer and by a relu in the other
@expect(relu=4)
def plain_pna_graph():
    def aggregate(m, receivers, count, clamp):
        sums = lambda a: jax.ops.segment_sum(a, receivers, count)  # noqa: E731
        degree = jnp.maximum(sums(jnp.ones((len(m), 1))), 1.0)
        mean = sums(m) / degree
        std = jnp.sqrt(clamp(sums(m**2) / degree - mean**2) + 1e-5)
        most = jax.ops.segment_max(m, receivers, count)
        most = jnp.where(jnp.isfinite(most), most, 0.0)
        scale = jnp.log(degree + 1) / 1.5
        every = jnp.concatenate([mean, std, most], axis=-1)
        return jnp.concatenate([every, every * scale, every / scale], axis=-1)

    def forward(params, h, senders, receivers):
        clamps = (lambda v: jnp.maximum(v, 0.0), jax.nn.relu)
        for p, clamp in zip(params, clamps, strict=True):
            m = jax.nn.relu(linear(p["message"], jnp.concatenate([h[senders], h[receivers]], -1)))
            every = aggregate(m, receivers, len(h), clamp)
            h = h + jax.nn.relu(linear(p["update"], jnp.concatenate([h, every], -1)))
        return h

    def init(k):
        return [{"message": linear_init(k, 8, 6)[0], "update": linear_init(k, 4 + 9 * 6, 4)[0]}] * 2

    return of_plain(forward, init, f32(5, 4), i32(9), i32(9))


# GATv2 with edges grouped by receiver: leaky on the features before the scores of each of 2 heads at once, ELU behind
# the first layer; degrees are inverted where they are not zero, in a GCN with a ReLU at the end
@expect(leaky_relu=2, elu=1, relu=1)
def haiku_gatv2_gcn():
    def softmax(scores, receivers, count):
        most = jax.ops.segment_max(scores, receivers, count)
        e = jnp.exp(scores - most[receivers])
        return e / (jax.ops.segment_sum(e, receivers, count)[receivers] + 1e-16)

    def gat(h, senders, receivers, heads=2, size=4):
        left, right = (hk.Linear(heads * size)(h).reshape(-1, heads, size) for _ in range(2))
        a = hk.get_parameter(f"a{size}_{h.shape[1]}", (heads, size), init=hk.initializers.RandomNormal())
        scores = (jax.nn.leaky_relu(left[senders] + right[receivers], 0.2) * a).sum(-1)
        weights = softmax(scores, receivers, len(h))
        out = jax.ops.segment_sum(weights[..., None] * left[senders], receivers, len(h))
        return out.reshape(len(h), -1)

    def forward(h, senders, receivers):
        h = jax.nn.elu(gat(h, senders, receivers))
        h = gat(h, senders, receivers)
        degree = jax.ops.segment_sum(jnp.ones(len(senders)), receivers, len(h))
        inverse = jnp.where(degree > 0, jax.lax.rsqrt(jnp.maximum(degree, 1e-9)), 0.0)
        m = hk.Linear(6)(h) * inverse[:, None]
        h = jax.ops.segment_sum(m[senders], receivers, len(h)) * inverse[:, None]
        return hk.Linear(3)(jax.nn.relu(h))

    return of_haiku(forward, f32(5, 3), i32(8), i32(8))


# an equivariant potential: the radial net has a SiLU, scalars a SiLU and vectors a gate by a sigmoid, in each of 2
# layers; forces are its gradient; Bessel functions, the polynomial cutoff and the safe norm are none
@expect(silu=4, sigmoid=2)
def plain_equivariant_potential_forces():
    def radial(d, cutoff=3.0):
        x = d / cutoff
        bessel = jnp.sqrt(2 / cutoff) * jnp.sin(jnp.pi * jnp.arange(1, 5) * x[:, None]) / d[:, None]
        envelope = jnp.where(x < 1.0, 1 - 28 * x**6 + 48 * x**7 - 21 * x**8, 0.0)
        return bessel * envelope[:, None]

    def energy(params, positions, species, senders, receivers):
        r = positions[receivers] - positions[senders]
        square = jnp.sum(r**2, axis=-1)
        d = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 1e-6)
        scalars, vectors = params["embed"][species], jnp.zeros((len(species), 4, 3))
        basis, direction = radial(d), r / d[:, None]
        for p in params["layers"]:
            w = linear(p["r2"], jax.nn.silu(linear(p["r1"], basis)))
            a, b, c = jnp.split(w, 3, axis=-1)
            s = jax.ops.segment_sum(a * scalars[senders], receivers, len(species))
            v = b[..., None] * scalars[senders][..., None] * direction[:, None] + c[..., None] * vectors[senders]
            v = jax.ops.segment_sum(v, receivers, len(species))
            s, gates = jnp.split(linear(p["mix"], s), 2, axis=-1)
            scalars = scalars + jax.nn.silu(s)
            vectors = vectors + jax.nn.sigmoid(gates)[..., None] * jnp.einsum("ncx,cd->ndx", v, p["v"])
        return jnp.sum(linear(params["out"], scalars + jnp.sum(vectors**2, -1)))

    def forward(params, positions, *graph):
        value, gradient = jax.value_and_grad(energy, argnums=1)(params, positions, *graph)
        return value, -gradient

    def init(k):
        shapes = {"r1": (4, 8), "r2": (8, 12), "mix": (4, 8)}
        one = {n: linear_init(k, *s)[0] for n, s in shapes.items()} | {"v": jnp.eye(4)}
        return {"embed": jnp.ones((3, 4)), "layers": [one, one], "out": linear_init(k, 4, 1)[0]}

    return of_plain(forward, init, f32(5, 3), i32(5), i32(9), i32(9))


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


# wave function: the local energy takes the Laplacian by a loop over tangents of the gradient. 2 layers of one-electron
# features, 1 of pairs, in the gradient; determinants, envelopes and Metropolis' acceptance are none
@expect(tanh=6, executions=3 + 3 * 4)
def plain_ferminet_local_energy():
    def log_psi(p, x):
        x = x.reshape(4, 3)
        r = jnp.linalg.norm(x, axis=-1, keepdims=True)
        pair = x[:, None] - x[None]
        distance = jnp.linalg.norm(pair + jnp.eye(4)[..., None], axis=-1, keepdims=True)
        one, two = jnp.concatenate([x, r], -1), jnp.concatenate([pair, distance], -1)
        for i, layer in enumerate(p["one"]):
            g = jnp.concatenate([one, jnp.broadcast_to(one.mean(0), one.shape), two.mean(0)], -1)
            new = jnp.tanh(linear(layer, g))
            one = new if i == 0 else new + one
            if i == 0:
                two = jnp.tanh(linear(p["two"], two))
        orbitals = linear(p["orbitals"], one) * jnp.exp(-jnp.abs(p["decay"]) * r)
        return jnp.linalg.slogdet(orbitals)[1]

    def kinetic(p, x):
        gradient = jax.grad(log_psi, argnums=1)
        value, tangent = jax.linearize(lambda x: gradient(p, x), x)
        basis = jnp.eye(12)
        laplacian = jax.lax.fori_loop(0, 12, lambda i, t: t + tangent(basis[i])[i], 0.0)
        return -0.5 * (laplacian + jnp.sum(value**2))

    def forward(p, x, rng):
        batch = jax.vmap(log_psi, in_axes=(None, 0))

        def metropolis(i, state):
            x, log_density = state
            a, b = jax.random.split(jax.random.fold_in(rng, i))
            proposal = x + 0.1 * jax.random.normal(a, x.shape)
            new = 2 * batch(p, proposal)
            accept = jnp.log(jax.random.uniform(b, new.shape)) < new - log_density
            return jnp.where(accept[:, None], proposal, x), jnp.where(accept, new, log_density)

        x, _ = jax.lax.fori_loop(0, 4, metropolis, (x, jnp.zeros(len(x))))
        local = jax.vmap(kinetic, in_axes=(None, 0))(p, x)
        centre = jnp.median(local)
        spread = jnp.mean(jnp.abs(local - centre))
        return jnp.clip(local, centre - 5 * spread, centre + 5 * spread), x

    def init(k):
        one = [linear_init(k, 12, 8)[0], linear_init(k, 8 + 8 + 6, 8)[0]]
        return {
            "one": one,
            "two": linear_init(k, 4, 6)[0],
            "orbitals": linear_init(k, 8, 4)[0],
            "decay": jnp.ones(4),
        }

    return of_plain(forward, init, f32(5, 12), key())


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
        before, z, i = state
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


# capsules: a ReLU convolution, 2 hidden layers and the sigmoid of the reconstruction; squashing, routing and the
# margins of the loss are none
@expect(relu=3, sigmoid=1)
def haiku_capsules_margin_loss():
    def squash(s, axis=-1):
        square = jnp.sum(s**2, axis=axis, keepdims=True)
        return square / (1 + square) * s / jnp.sqrt(square + 1e-8)

    def loss(images, labels):
        h = jax.nn.relu(hk.Conv2D(4, 3, padding="VALID")(images))
        u = squash(hk.Conv2D(8, 3, stride=2, padding="VALID")(h).reshape(len(images), -1, 4))
        w = hk.get_parameter("w", (u.shape[1], 3, 4, 5), init=hk.initializers.RandomNormal())
        votes = jnp.einsum("bid,ijde->bije", u, w)
        logits = jnp.zeros(votes.shape[:-1])
        for i in range(3):
            v = squash(jnp.einsum("bij,bije->bje", jax.nn.softmax(logits, axis=2), votes))
            if i < 2:
                logits = logits + jnp.einsum("bije,bje->bij", votes, jax.lax.stop_gradient(v))
        length = jnp.sqrt(jnp.sum(v**2, -1) + 1e-8)
        is_there = jax.nn.one_hot(labels, 3)
        margin = is_there * jnp.maximum(0.0, 0.9 - length) ** 2
        margin += 0.5 * (1 - is_there) * jnp.maximum(0.0, length - 0.1) ** 2
        masked = (v * is_there[..., None]).reshape(len(images), -1)
        out = hk.nets.MLP([8, 8, images[0].size])(masked)
        image = jax.nn.sigmoid(out).reshape(images.shape)
        return margin.sum(-1).mean() + 0.0005 * jnp.sum((image - images) ** 2)

    return of_haiku(loss, f32(2, 8, 8, 1), i32(2))


class AttentionGateUNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        act = lambda h: jnp.where(h >= 0, h, h * 0.2)  # noqa: E731
        h1 = act(nn.GroupNorm(2)(nn.Conv(4, (3, 3))(x)))
        h2 = act(nn.GroupNorm(2)(nn.Conv(8, (3, 3))(nn.max_pool(h1, (2, 2), strides=(2, 2)))))
        up = jax.image.resize(h2, (*h1.shape[:-1], 8), "bilinear")
        gate = nn.relu(nn.Conv(4, (1, 1))(up) + nn.Conv(4, (1, 1))(h1))
        h1 = h1 * nn.sigmoid(nn.Conv(1, (1, 1))(gate))
        return nn.Conv(3, (1, 1))(act(nn.Conv(4, (3, 3))(jnp.concatenate([h1, up], axis=-1))))


# 3 leaky layers, 1 gate with its hidden layer; focal and Dice losses share the sigmoid of the probabilities; smoothing,
# powers and clips are none
@expect(leaky_relu=3, relu=1, sigmoid=2)
def linen_attention_unet_focal_dice():
    model = AttentionGateUNet()

    def loss(variables, x, masks):
        logits = model.apply(variables, x)
        p = jnp.clip(nn.sigmoid(logits), 1e-6, 1 - 1e-6)
        smooth = masks * 0.9 + 0.05
        entropy = -(smooth * jnp.log(p) + (1 - smooth) * jnp.log(1 - p))
        p_true = masks * p + (1 - masks) * (1 - p)
        focal = jnp.mean(jnp.where(masks > 0.5, 0.25, 0.75) * (1 - p_true) ** 2 * entropy)
        shared = jnp.sum(p * masks, axis=(1, 2))
        dice = (2 * shared + 1) / (jnp.sum(p, axis=(1, 2)) + jnp.sum(masks, axis=(1, 2)) + 1)
        return focal + 1 - jnp.mean(dice)

    x = f32(2, 8, 8, 1)
    return loss, (jax.eval_shape(model.init, key(), x), x, f32(2, 8, 8, 3))


# RetinaNet's focal loss from logits, as in Detectron: the sigmoid of the probability; the cross-entropy is a softplus
# whose exponential is the probability again. 2 hidden layers of either head; boxes by a smooth L1
@expect(relu=4, sigmoid=1)
def plain_retina_focal():
    def loss(p, features, labels, boxes):
        logits = mlp(p["classes"], features, jax.nn.relu)
        prob = jax.nn.sigmoid(logits)
        entropy = jax.nn.softplus(jnp.where(labels > 0, -logits, logits))
        p_true = prob * labels + (1 - prob) * (1 - labels)
        focal = (0.25 * labels + 0.75 * (1 - labels)) * (1 - p_true) ** 2.0 * entropy
        hard = (1 - jnp.exp(-entropy)) ** 0.5 * entropy
        error = jnp.abs(mlp(p["boxes"], features, jax.nn.relu) - boxes)
        smooth = jnp.where(error < 0.1, 0.5 * error**2 / 0.1, error - 0.05)
        count = jnp.maximum(labels.max(-1).sum(), 1.0)
        return (focal.sum() + hard.sum() + smooth.sum()) / count

    def init(k):
        return {"classes": linear_init(k, 6, 8, 8, 3), "boxes": linear_init(k, 6, 8, 8, 4)}

    return of_plain(loss, init, f32(2, 5, 6), f32(2, 5, 3), f32(2, 5, 4))


class NFBlock(nnx.Module):
    """Normaliser-free: scaled activations, standardised weights, squeeze and excitation, stochastic depth."""

    def __init__(self, dim, beta, alpha, rngs):
        self.w1 = nnx.Param(rngs.normal((3, 3, dim, dim)))
        self.w2 = nnx.Param(rngs.normal((3, 3, dim, dim)))
        self.squeeze, self.excite = nnx.Linear(dim, dim // 2, rngs=rngs), nnx.Linear(dim // 2, dim, rngs=rngs)
        self.skip_gain = nnx.Param(jnp.zeros(()))
        self.beta, self.alpha = beta, alpha

    def conv(self, w, x):
        mean, var = w.mean((0, 1, 2)), w.var((0, 1, 2))
        fan_in = w[..., 0].size
        scale = jax.lax.rsqrt(jnp.maximum(var * fan_in, 1e-4))
        w = (w - mean) * scale
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def __call__(self, x, rng):
        gelu = lambda h: jax.nn.gelu(h) * 1.7015043497085571  # noqa: E731
        h = gelu(x) * self.beta
        h = self.conv(self.w2.value, gelu(self.conv(self.w1.value, h)))
        se = nnx.sigmoid(self.excite(nnx.relu(self.squeeze(h.mean((1, 2))))))
        h = 2 * se[:, None, None] * h
        keep = jnp.floor(0.9 + jax.random.uniform(rng, (len(x), 1, 1, 1)))
        return x + self.alpha * self.skip_gain.value * h * keep / 0.9


# each of 2 blocks: 2 scaled GELU, the hidden ReLU and the sigmoid of the squeeze
@expect(gelu=4, relu=2, sigmoid=2)
def nnx_normaliser_free():
    def call(blocks, x, rng):
        for block, k in zip(blocks, jax.random.split(rng, 2), strict=True):
            x = block(x, k)
        return x

    make = lambda: nnx.List([NFBlock(4, b, 0.2, nnx.Rngs(0)) for b in (1.0, 0.9)])  # noqa: E731
    return of_nnx(make, f32(2, 6, 6, 4), key(), method=call)


# the pair track of a structure predictor: outgoing triangles have 2 gates and one of the output, attention one, the
# transition a ReLU; the single track's angles start with 2 ReLU; errors are clamped, scores are softmaxed
@expect(sigmoid=4, relu=3)
def haiku_evoformer_frame_loss():
    def norm(x):
        return hk.LayerNorm(-1, True, True)(x)

    def triangle(z, mask):
        x = norm(z)
        left, right = (
            mask[..., None] * hk.Linear(4)(x) * jax.nn.sigmoid(hk.Linear(4, b_init=jnp.ones)(x)) for _ in range(2)
        )
        out = hk.Linear(6)(norm(jnp.einsum("bikc,bjkc->bijc", left, right)))
        return out * jax.nn.sigmoid(hk.Linear(6)(x))

    def attention(s, bias, mask):
        x = norm(s)
        q, k, v, g = (hk.Linear(8, with_bias=False)(x).reshape(*x.shape[:2], 2, 4) for _ in range(4))
        logits = jnp.einsum("bihc,bjhc->bhij", q, k) / 2 + jnp.moveaxis(hk.Linear(2)(bias), -1, 1)
        logits = logits + 1e9 * (mask[:, None, None] - 1.0)
        out = jnp.einsum("bhij,bjhc->bihc", jax.nn.softmax(logits), v) * jax.nn.sigmoid(g)
        return hk.Linear(6)(out.reshape(*out.shape[:2], 8))

    def loss(s, z, mask, positions):
        square = mask[:, :, None] * mask[:, None, :]
        z = z + triangle(z, square)
        z = z + hk.Linear(6)(jax.nn.relu(hk.Linear(12)(norm(z))))
        s = s + attention(s, z, mask)
        a = hk.Linear(6)(jax.nn.relu(s))
        a = hk.Linear(6)(jax.nn.relu(a))
        angles = hk.Linear(2)(a)
        length = jnp.sqrt(jnp.maximum(jnp.sum(angles**2, -1, keepdims=True), 1e-12))
        angles = angles / length
        predicted = hk.Linear(3)(s)
        pair = lambda x: x[:, :, None] - x[:, None]  # noqa: E731
        error = jnp.sqrt(jnp.sum((pair(predicted) - pair(positions)) ** 2, -1) + 1e-4)
        clamped = jnp.clip(error, 0.0, 10.0)
        frame = jnp.sum(clamped * square) / (jnp.sum(square) + 1e-8)
        logits = hk.Linear(5)(z + jnp.swapaxes(z, 1, 2))
        edges = jnp.linspace(1.0, 4.0, 4) ** 2
        bins = jnp.sum(jnp.sum(pair(positions) ** 2, -1, keepdims=True) > edges, -1)
        disto = optax.softmax_cross_entropy_with_integer_labels(logits, bins)
        bond = jnp.linalg.norm(predicted[:, 1:] - predicted[:, :-1], axis=-1)
        violation = jnp.maximum(jnp.abs(bond - 3.8) - 0.4, 0.0)
        return frame + 0.3 * (disto * square).mean() + violation.mean() + 0.02 * jnp.abs(length - 1).mean() + (
            angles**2
        ).mean()

    return of_haiku(loss, f32(2, 5, 6), f32(2, 5, 5, 6), f32(2, 5), f32(2, 5, 3))


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


# ordinal regression: a hidden layer; classes are differences of sigmoids of ordered cuts, which is how a likelihood is
# written, and the steps between cuts are a softplus of parameters
@expect(relu=1)
def plain_ordinal_regression():
    def loss(p, x, y):
        score = mlp(p["net"], x, jax.nn.relu)
        cuts = p["first"] + jnp.cumsum(jax.nn.softplus(p["steps"]))
        ends = jnp.concatenate([jnp.array([-1e9]), cuts, jnp.array([1e9])])
        prob = jax.nn.sigmoid(ends[1:][y] - score[:, 0]) - jax.nn.sigmoid(ends[:-1][y] - score[:, 0])
        return -jnp.mean(jnp.log(jnp.clip(prob, 1e-9)))

    init = lambda k: {"net": linear_init(k, 4, 8, 1), "first": jnp.zeros(1), "steps": jnp.ones(3)}  # noqa: E731
    return of_plain(loss, init, f32(6, 4), i32(6))
