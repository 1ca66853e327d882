"""Networks that are trained to compare: to cluster, to rank, to keep a margin."""

import jax
import jax.numpy as jnp

from .entry import expect, f32, of_plain
from .layers import linear, linear_init, mlp


# SwAV and VICReg on one trunk of 2 ReLU layers and a head of 1: Sinkhorn, hinges on deviations, log-cosh, entropy and a
# focal term are none
@expect(relu=3)
def plain_selfsupervised_losses():
    def sinkhorn(scores):
        q = jnp.exp(scores / 0.05).T
        q = q / q.sum()
        for _ in range(3):
            q = q / jnp.maximum(q.sum(1, keepdims=True), 1e-9) / q.shape[0]
            q = q / jnp.maximum(q.sum(0, keepdims=True), 1e-9) / q.shape[1]
        return (q * q.shape[1]).T

    def loss(p, first, second):
        def embed(x):
            return mlp(p["head"], jax.nn.relu(linear(p["a"][1], jax.nn.relu(linear(p["a"][0], x)))), jax.nn.relu)

        z = embed(jnp.concatenate([first, second]))
        unit = z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
        scores = unit @ p["prototypes"]
        a, b = jnp.split(scores, 2)
        codes = jax.lax.stop_gradient(jnp.concatenate([sinkhorn(b), sinkhorn(a)]))
        log_p = jax.nn.log_softmax(scores / 0.1)
        swav = -jnp.mean(jnp.sum(codes * log_p, -1))
        za, zb = jnp.split(z, 2)
        invariance = jnp.mean(jnp.log(jnp.cosh(za - zb)))
        std = jnp.sqrt(z.var(axis=0) + 1e-4)
        variance = jnp.mean(jax.nn.relu(1.0 - std))
        centred = z - z.mean(0)
        covariance = centred.T @ centred / (len(z) - 1)
        off = covariance - jnp.diag(jnp.diag(covariance))
        uniformity = jnp.log(jnp.mean(jnp.exp(-2 * jnp.sum((unit[:, None] - unit[None]) ** 2, -1))))
        entropy = -jnp.sum(jnp.exp(log_p) * log_p, -1).mean()
        similar = jnp.sum(unit[:, None] * unit[None], -1)
        triplet = jnp.maximum(similar - jnp.diagonal(jnp.roll(similar, 1, 0))[:, None] + 0.2, 0.0).mean()
        return swav + invariance + variance + jnp.sum(off**2) + uniformity - entropy + triplet

    def init(k):
        return {"a": linear_init(k, 6, 8, 8), "head": linear_init(k, 8, 8, 4), "prototypes": jnp.ones((4, 5))}

    return of_plain(loss, init, f32(3, 6), f32(3, 6))


# losses of each example, as they are asked for to weigh examples: 2 hidden layers; the hinge is none
@expect(relu=2)
def plain_hinge_of_each_example():
    def losses(p, x, y):
        margins = y * mlp(p, x, jax.nn.relu)[:, 0]
        return jnp.maximum(0.0, 1.0 - margins)

    return of_plain(losses, lambda k: linear_init(k, 4, 8, 8, 1), f32(6, 4), f32(6))


# a regression's Huber loss of pairs, ranked: RankNet's softplus, ListNet's softmax, a hinge of ranks, beside the mean;
# the value is returned with what it consists of for the log
@expect(gelu=2)
def plain_ranking_losses_with_aux():
    def loss(p, x, relevance):
        scores = mlp(p, x, jax.nn.gelu)[..., 0]
        gap = scores[:, :, None] - scores[:, None, :]
        better = (relevance[:, :, None] > relevance[:, None, :]).astype(scores.dtype)
        pairs = jnp.maximum(better.sum(), 1.0)
        ranknet = jnp.sum(better * jax.nn.softplus(-gap)) / pairs
        hinge = jnp.sum(better * jnp.maximum(0.0, 1.0 - gap)) / pairs
        listnet = -jnp.mean(jnp.sum(jax.nn.softmax(relevance) * jax.nn.log_softmax(scores), -1))
        error = scores - relevance
        huber = jnp.mean(jnp.where(jnp.abs(error) < 1, 0.5 * error**2, jnp.abs(error) - 0.5))
        quantile = jnp.mean(jnp.maximum(0.9 * -error, (0.9 - 1) * -error))
        return ranknet + hinge + listnet + huber + quantile, {"ranknet": ranknet, "error": error, "scores": scores}

    return of_plain(loss, lambda k: linear_init(k, 5, 8, 8, 1), f32(3, 6, 5), f32(3, 6))
