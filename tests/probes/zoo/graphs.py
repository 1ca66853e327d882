"""Graphs and molecules."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from .entry import expect, f32, i32, key, of_haiku, of_plain
from .layers import linear, linear_init


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
        return (
            frame
            + 0.3 * (disto * square).mean()
            + violation.mean()
            + 0.02 * jnp.abs(length - 1).mean()
            + (angles**2).mean()
        )

    return of_haiku(loss, f32(2, 5, 6), f32(2, 5, 5, 6), f32(2, 5), f32(2, 5, 3))
