"""Models together with the losses they are trained by: what only goes into a scalar loss is no activation."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from .entry import expect, f32, i32, key, of_equinox, of_haiku, of_linen, of_nnx, of_plain
from .layers import linear_init, mlp


class ActorCritic(nnx.Module):
    def __init__(self, observations, actions, *, rngs):
        self.actor1, self.actor2 = nnx.Linear(observations, 32, rngs=rngs), nnx.Linear(32, 32, rngs=rngs)
        self.policy = nnx.Linear(32, actions, rngs=rngs)
        self.critic1, self.critic2 = nnx.Linear(observations, 32, rngs=rngs), nnx.Linear(32, 32, rngs=rngs)
        self.value = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x):
        logits = self.policy(nnx.tanh(self.actor2(nnx.tanh(self.actor1(x)))))
        value = self.value(nnx.tanh(self.critic2(nnx.tanh(self.critic1(x)))))
        return logits, jnp.squeeze(value, axis=-1)


def ppo_loss(model, observations, actions, old_log_prob, old_value, advantages, targets):
    logits, value = model(observations)
    log_probs = jax.nn.log_softmax(logits)
    log_prob = jnp.take_along_axis(log_probs, actions[:, None], axis=-1)[:, 0]
    ratio = jnp.exp(log_prob - old_log_prob)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy_loss = -jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - 0.2, 1 + 0.2) * advantages).mean()
    clipped = old_value + (value - old_value).clip(-0.2, 0.2)
    value_loss = 0.5 * jnp.maximum(jnp.square(value - targets), jnp.square(clipped - targets)).mean()
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1).mean()
    return policy_loss + 0.5 * value_loss - 0.01 * entropy


# 2 hidden layers of the actor and 2 of the critic
@expect(tanh=4)
def nnx_ppo_loss():
    batch = (f32(16, 4), i32(16), f32(16), f32(16), f32(16), f32(16))
    return of_nnx(lambda: ActorCritic(4, 3, rngs=nnx.Rngs(0)), *batch, method=ppo_loss)


class VAE(nn.Module):
    latent: int = 4

    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(32)(x))
        mean, log_variance = nn.Dense(self.latent)(h), nn.Dense(self.latent)(h)
        noise = jax.random.normal(self.make_rng("dropout"), mean.shape)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        logits = nn.Dense(x.shape[-1])(nn.relu(nn.Dense(32)(z)))
        log_likelihood = x * nn.log_sigmoid(logits) + (1 - x) * nn.log_sigmoid(-logits)
        divergence = -0.5 * jnp.sum(1 + log_variance - jnp.square(mean) - jnp.exp(log_variance), axis=-1)
        return jnp.mean(divergence - jnp.sum(log_likelihood, axis=-1))


# 1 in the encoder, 1 in the decoder; log_sigmoid is the cross-entropy
@expect(relu=2)
def linen_vae_elbo():
    return of_linen(VAE(), f32(5, 16))


class SoftplusVAE(nnx.Module):
    def __init__(self, *, rngs):
        self.encoder, self.moments = nnx.Linear(16, 32, rngs=rngs), nnx.Linear(32, 8, rngs=rngs)
        self.decoder, self.out = nnx.Linear(4, 32, rngs=rngs), nnx.Linear(32, 16, rngs=rngs)
        self.rngs = rngs

    def loss(self, x):
        mean, raw = jnp.split(self.moments(nnx.elu(self.encoder(x))), 2, axis=-1)
        deviation = nnx.softplus(raw) + 1e-4
        z = mean + deviation * jax.random.normal(self.rngs.noise(), mean.shape)
        image = nnx.sigmoid(self.out(nnx.elu(self.decoder(z))))
        divergence = 0.5 * jnp.sum(mean**2 + deviation**2 - 1 - 2 * jnp.log(deviation), axis=-1)
        return jnp.mean(jnp.sum((x - image) ** 2, axis=-1) + divergence)


# 1 elu on either side; the deviation goes on to the decoder, so its softplus counts; the image is a sigmoid
@expect(elu=2, softplus=1, sigmoid=1)
def nnx_vae_softplus_elbo():
    make = lambda: SoftplusVAE(rngs=nnx.Rngs(0, noise=1))  # noqa: E731
    return of_nnx(make, f32(5, 16), method=SoftplusVAE.loss)


class Discriminator(nnx.Module):
    def __init__(self, *, rngs):
        self.conv1 = nnx.Conv(3, 8, (4, 4), strides=2, rngs=rngs)
        self.conv2 = nnx.Conv(8, 16, (4, 4), strides=2, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.head = nnx.Linear(16 * 4 * 4, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.leaky_relu(self.conv1(x), negative_slope=0.2)
        x = nnx.leaky_relu(self.norm(self.conv2(x)), negative_slope=0.2)
        return self.head(x.reshape(x.shape[0], -1))


def gan_loss(model, real, fake):
    logits = model(jnp.concatenate([real, fake]))
    labels = jnp.concatenate([jnp.ones((len(real), 1)), jnp.zeros((len(fake), 1))])
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels))


# 2 convolutions; the cross-entropy has none
@expect(leaky_relu=2)
def nnx_gan_discriminator_bce():
    images = f32(4, 16, 16, 3), f32(4, 16, 16, 3)
    return of_nnx(lambda: Discriminator(rngs=nnx.Rngs(0)), *images, method=gan_loss)


def stable_bce(logits, labels):
    return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


# TensorFlow's form of the same, with its maximum
@expect(leaky_relu=2)
def nnx_gan_discriminator_stable_bce():
    def loss(model, real, fake):
        logits = model(jnp.concatenate([real, fake]))
        labels = jnp.concatenate([jnp.ones((len(real), 1)), jnp.zeros((len(fake), 1))])
        return jnp.mean(stable_bce(logits, labels))

    return of_nnx(lambda: Discriminator(rngs=nnx.Rngs(0)), f32(4, 16, 16, 3), f32(4, 16, 16, 3), method=loss)


# 2 convolutions, on real and on generated images apart; the hinges are none
@expect(leaky_relu=4)
def nnx_gan_hinge():
    def loss(model, real, fake):
        real, fake = model(real), model(fake)
        return jnp.mean(jnp.maximum(0.0, 1.0 - real)) + jnp.mean(jnp.maximum(0.0, 1.0 + fake))

    return of_nnx(lambda: Discriminator(rngs=nnx.Rngs(0)), f32(4, 16, 16, 3), f32(4, 16, 16, 3), method=loss)


# the same, by an author who calls the hinge relu
@expect(leaky_relu=4)
def nnx_gan_hinge_by_relu():
    def loss(model, real, fake):
        return jnp.mean(nnx.relu(1.0 - model(real))) + jnp.mean(nnx.relu(1.0 + model(fake)))

    return of_nnx(lambda: Discriminator(rngs=nnx.Rngs(0)), f32(4, 16, 16, 3), f32(4, 16, 16, 3), method=loss)


class AtariQ(nn.Module):
    actions: int = 4

    @nn.compact
    def __call__(self, x):
        x = x.astype(jnp.float32) / 255.0
        x = nn.relu(nn.Conv(8, (8, 8), strides=(4, 4))(x))
        x = nn.relu(nn.Conv(16, (4, 4), strides=(2, 2))(x))
        x = nn.relu(nn.Conv(16, (3, 3))(x))
        x = nn.relu(nn.Dense(32)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.actions)(x)


def huber(error, delta=1.0):
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


# double DQN: 4 layers on the state; on the next state by the online and by the target network
@expect(relu=12)
def linen_dqn_huber():
    model = AtariQ()
    frames = jax.ShapeDtypeStruct((3, 32, 32, 4), jnp.uint8)
    params = jax.eval_shape(model.init, key(), frames)

    def loss(params, target_params, state, action, reward, next_state, done):
        q = jnp.take_along_axis(model.apply(params, state), action[:, None], axis=-1)[:, 0]
        best = jnp.argmax(model.apply(params, next_state), axis=-1)
        next_q = jnp.take_along_axis(model.apply(target_params, next_state), best[:, None], axis=-1)[:, 0]
        target = jnp.clip(reward, -1, 1) + 0.99 * (1 - done) * next_q
        return jnp.mean(huber(q - jax.lax.stop_gradient(target)))

    return loss, (params, params, frames, i32(3), f32(3), frames, f32(3))


# soft actor-critic: the actor has 2 relu and the tanh of the action, either critic 2 relu; log-probabilities have none
@expect(relu=6, tanh=1)
def plain_sac_actor_loss():
    def loss(params, critics, temperature, observations, key):
        out = mlp(params["hidden"], observations, jax.nn.relu)
        mean, log_deviation = jnp.split(out, 2, axis=-1)
        log_deviation = jnp.clip(log_deviation, -5, 2)
        raw = mean + jnp.exp(log_deviation) * jax.random.normal(key, mean.shape)
        action = jnp.tanh(raw)
        log_prob = jax.scipy.stats.norm.logpdf(raw, mean, jnp.exp(log_deviation))
        log_prob = jnp.sum(log_prob - 2 * (jnp.log(2) - raw - jax.nn.softplus(-2 * raw)), axis=-1)
        inputs = jnp.concatenate([observations, action], axis=-1)
        q1, q2 = (mlp(critic, inputs, jax.nn.relu)[:, 0] for critic in critics)
        return jnp.mean(jnp.exp(temperature) * log_prob - jnp.minimum(q1, q2))

    critic = jax.eval_shape(lambda k: linear_init(k, 6 + 2, 16, 16, 1), key())
    init = lambda key: {"hidden": linear_init(key, 6, 16, 16, 4)}  # noqa: E731
    return of_plain(loss, init, [critic, critic], f32(), f32(7, 6), key())


# distillation: 2 hidden layers of the student, 3 of the teacher; softened by softmax
@expect(relu=2, tanh=3)
def plain_distillation():
    def loss(student, teacher, x, labels, temperature=4.0):
        logits = mlp(student, x, jax.nn.relu)
        targets = jax.lax.stop_gradient(mlp(teacher, x, jnp.tanh))
        soft = jax.nn.softmax(targets / temperature)
        log_soft = jax.nn.log_softmax(logits / temperature)
        divergence = jnp.sum(soft * (jnp.log(jnp.maximum(soft, 1e-12)) - log_soft), axis=-1)
        hard = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(0.1 * hard + 0.9 * temperature**2 * divergence)

    teacher = jax.eval_shape(lambda k: linear_init(k, 8, 32, 32, 32, 5), key())
    return of_plain(loss, lambda key: linear_init(key, 8, 16, 16, 5), teacher, f32(6, 8), i32(6))


class SimCLR(nn.Module):
    @nn.compact
    def __call__(self, first, second, temperature=0.1):
        x = jnp.concatenate([first, second])
        for features in (8, 16):
            x = nn.Conv(features, (3, 3), 2, use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        h = nn.relu(nn.Dense(32)(x.mean(axis=(1, 2))))
        z = nn.Dense(16)(h)
        z = z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
        count = len(first)
        similarity = z @ z.T / temperature
        similarity = jnp.where(jnp.eye(2 * count) > 0, -1e9, similarity)
        partner = jnp.roll(jnp.arange(2 * count), count)
        return optax.softmax_cross_entropy_with_integer_labels(similarity, partner).mean()


# 2 convolutions and 1 in the projection, on both views at once; norms are none
@expect(relu=3)
def linen_simclr():
    return of_linen(SimCLR(), f32(4, 16, 16, 3), f32(4, 16, 16, 3))


# 2 hidden layers on each of three inputs; squared distances are clamped before their root, the margin is a hinge
@expect(relu=6)
def haiku_triplet_loss():
    def embed(net, x):
        z = net(x)
        return z * jax.lax.rsqrt(jnp.maximum(jnp.sum(z**2, axis=-1, keepdims=True), 1e-12))

    def forward(anchor, positive, negative):
        net = hk.nets.MLP([16, 16, 8])
        a, p, n = (embed(net, x) for x in (anchor, positive, negative))

        def distance(u, v):
            squared = jnp.sum(u**2, axis=-1)[:, None] - 2 * u @ v.T + jnp.sum(v**2, axis=-1)[None]
            return jnp.sqrt(jnp.maximum(squared, 0.0) + 1e-12)

        gap = jnp.diagonal(distance(a, p))[:, None] - distance(a, n)
        return jnp.mean(jnp.maximum(gap + 0.2, 0.0))

    return of_haiku(forward, f32(4, 8), f32(4, 8), f32(4, 8))


def area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def generalised_iou(a, b):
    top_left, bottom_right = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    sides = jnp.clip(bottom_right - top_left, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(a) + area(b) - shared
    hull_sides = jnp.maximum(jnp.maximum(a[..., 2:], b[..., 2:]) - jnp.minimum(a[..., :2], b[..., :2]), 0.0)
    hull = hull_sides[..., 0] * hull_sides[..., 1]
    return shared / (union + 1e-6) - (hull - union) / (hull + 1e-6)


class Detector(nn.Module):
    """The heads of DETR on the queries of its decoder."""

    @nn.compact
    def __call__(self, queries):
        h = queries
        for _ in range(2):
            h = nn.relu(nn.Dense(32)(h))
        centre, size = jnp.split(nn.sigmoid(nn.Dense(4)(h)), 2, axis=-1)
        boxes = jnp.concatenate([centre - size / 2, centre + size / 2], axis=-1)
        return nn.Dense(5)(queries), boxes


# the head of the boxes: 2 hidden layers and a sigmoid; the clips of the IoU are none
@expect(relu=2, sigmoid=1)
def linen_detector_loss():
    model = Detector()

    def loss(variables, queries, labels, boxes):
        logits, predicted = model.apply(variables, queries)
        classes = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return classes + jnp.abs(predicted - boxes).mean() + (1 - generalised_iou(predicted, boxes)).mean()

    queries = f32(2, 7, 16)
    return loss, (jax.eval_shape(model.init, key(), queries), queries, i32(2, 7), f32(2, 7, 4))


# the same at inference: scores decay with the overlap of their boxes (soft non-maximum suppression)
@expect(relu=2, sigmoid=1)
def linen_detector_soft_nms():
    model = Detector()

    def detect(variables, queries):
        logits, boxes = model.apply(variables, queries)
        scores = jax.nn.softmax(logits).max(axis=-1)
        a, b = boxes[:, :, None], boxes[:, None, :]
        sides = jnp.maximum(jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2]), 0.0)
        shared = sides[..., 0] * sides[..., 1]
        iou = shared / (area(a) + area(b) - shared + 1e-6)
        better = scores[:, None, :] > scores[:, :, None]
        return boxes, scores * jnp.prod(jnp.where(better, jnp.exp(-(iou**2) / 0.5), 1.0), axis=-1)

    queries = f32(2, 7, 16)
    return detect, (jax.eval_shape(model.init, key(), queries), queries)


# CLIP: quick GELU in 2 layers of either tower; the scale of the logits is clipped
@expect(quick_gelu=4)
def plain_clip_contrastive():
    def normalise(x):
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def loss(params, images, texts):
        act = lambda h: h * jax.nn.sigmoid(1.702 * h)  # noqa: E731
        a, b = normalise(mlp(params["image"], images, act)), normalise(mlp(params["text"], texts, act))
        logits = jnp.exp(jnp.clip(params["scale"], 0, jnp.log(100))) * a @ b.T
        labels = jnp.arange(len(images))
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        return (cross_entropy(logits, labels).mean() + cross_entropy(logits.T, labels).mean()) / 2

    def init(key):
        towers = {"image": linear_init(key, 12, 16, 16, 8), "text": linear_init(key, 10, 16, 16, 8)}
        return towers | {"scale": jnp.ones(())}

    return of_plain(loss, init, f32(6, 12), f32(6, 10))


# 2 hidden layers and the sigmoid of the image, by mean squares; weight decay clamps parameters
@expect(relu=2, sigmoid=1)
def equinox_autoencoder_mse():
    def loss(model, x):
        image = jax.vmap(model)(x)
        decay = sum(jnp.sum(jnp.maximum(jnp.abs(layer.weight) - 0.1, 0.0)) for layer in model.layers)
        return jnp.mean((image - x) ** 2) + 1e-3 * decay

    make = lambda key: eqx.nn.MLP(16, 16, 8, 2, final_activation=jax.nn.sigmoid, key=key)  # noqa: E731
    return of_equinox(make, f32(5, 16), call=loss)
