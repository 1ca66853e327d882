"""Agents: policies, values and models of the world, with what they are trained by."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from .entry import expect, f32, i32, key, of_equinox, of_plain
from .layers import linear, linear_init, mlp


class Policy(nn.Module):
    @nn.compact
    def __call__(self, x):
        dense = lambda n, scale: nn.Dense(n, kernel_init=nn.initializers.orthogonal(scale))  # noqa: E731
        a = nn.tanh(dense(8, 2**0.5)(nn.tanh(dense(8, 2**0.5)(x))))
        c = nn.tanh(dense(8, 2**0.5)(nn.tanh(dense(8, 2**0.5)(x))))
        return dense(2, 0.01)(a), jnp.squeeze(dense(1, 1.0)(c), -1)


# all of PPO, as it is compiled: 4 tanh in each of 5 steps of the rollout, 4 on the last state, 4 in the loss in each
# of 2 minibatches of each of 3 epochs; the backward pass and the optimiser are none
@expect(tanh=12, executions=4 * 5 + 4 + 4 * 6)
def linen_ppo_whole_update():
    model, optimiser = Policy(), optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))

    def environment(state, action):
        position, velocity = jnp.split(state, 2, axis=-1)
        velocity = jnp.clip(velocity + 0.1 * (2.0 * action[:, None] - 1), -1, 1)
        state = jnp.concatenate([position + velocity, velocity], axis=-1)
        return state, -jnp.abs(position[:, 0]), jnp.abs(position[:, 0]) > 2

    def loss(params, batch):
        state, action, old_log_prob, old_value, advantage, target = batch
        logits, value = model.apply(params, state)
        log_probs = jax.nn.log_softmax(logits)
        log_prob = jnp.take_along_axis(log_probs, action[:, None], -1)[:, 0]
        clipped = old_value + jnp.clip(value - old_value, -0.2, 0.2)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        ratio = jnp.exp(log_prob - old_log_prob)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        actor = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
        entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, -1).mean()
        return actor + 0.5 * value_loss - 0.01 * entropy

    def update(params, moments, state, rng):
        def act(carry, rng):
            state = carry
            logits, value = model.apply(params, state)
            action = jax.random.categorical(rng, logits)
            log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
            after, reward, done = environment(state, action)
            return after, (state, action, log_prob, value, reward, done)

        rollout, shuffle = jax.random.split(rng)
        state, (states, actions, log_probs, values, rewards, dones) = jax.lax.scan(
            act, state, jax.random.split(rollout, 5)
        )
        _, last = model.apply(params, state)

        def advantage(carry, step):
            total, after = carry
            reward, value, done = step
            total = reward + 0.99 * after * (1 - done) - value + 0.95 * 0.99 * (1 - done) * total
            return (total, value), total

        _, advantages = jax.lax.scan(advantage, (jnp.zeros_like(last), last), (rewards, values, dones), reverse=True)
        data = (states, actions, log_probs, values, advantages, advantages + values)
        data = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), data)

        def epoch(carry, rng):
            order = jax.random.permutation(rng, 20)
            batches = jax.tree.map(lambda a: a[order].reshape(2, 10, *a.shape[1:]), data)

            def minibatch(carry, batch):
                params, moments = carry
                value, grads = jax.value_and_grad(loss)(params, batch)
                updates, moments = optimiser.update(grads, moments, params)
                return (optax.apply_updates(params, updates), moments), value

            return jax.lax.scan(minibatch, carry, batches)

        (params, moments), losses = jax.lax.scan(epoch, (params, moments), jax.random.split(shuffle, 3))
        return params, moments, state, losses.mean()

    state = f32(4, 2)
    params = jax.eval_shape(model.init, key(), state)
    return update, (params, jax.eval_shape(optimiser.init, params), state, key())


def squashed_policy(params, observations, rng):
    mean, log_std = jnp.split(mlp(params, observations, jax.nn.relu), 2, axis=-1)
    log_std = -5.0 + 0.5 * (2.0 + 5.0) * (jnp.tanh(log_std) + 1)
    raw = mean + jnp.exp(log_std) * jax.random.normal(rng, mean.shape)
    log_prob = jax.scipy.stats.norm.logpdf(raw, mean, jnp.exp(log_std))
    log_prob -= 2.0 * (jnp.log(2.0) - raw - jax.nn.softplus(-2.0 * raw))
    return jnp.tanh(raw), log_prob.sum(-1)


# a policy that is asked for an action and its log-probability: 2 hidden layers, the bound of the log-deviation, the
# action; the softplus of the change of variables is a part of a likelihood
@expect(relu=2, tanh=2)
def plain_squashed_policy_sample():
    return of_plain(squashed_policy, lambda k: linear_init(k, 6, 8, 8, 4), f32(5, 6), key())


# Rainbow: a hidden layer and one in either stream (noise is drawn as sign and root), by the online network on both
# states and by the target network; distributions are projected by clips
@expect(relu=9)
def plain_rainbow_loss():
    support = jnp.linspace(-10.0, 10.0, 11)

    def noisy(p, x, rng):
        squash = lambda e: jnp.sign(e) * jnp.sqrt(jnp.abs(e))  # noqa: E731
        a, b = jax.random.split(rng)
        into, out = squash(jax.random.normal(a, p["w"].shape[:1])), squash(jax.random.normal(b, p["w"].shape[1:]))
        return x @ (p["w"] + p["sw"] * jnp.outer(into, out)) + p["b"] + p["sb"] * out

    def logits(p, x, rng):
        keys = jax.random.split(rng, 4)
        h = jax.nn.relu(linear(p["torso"], x))
        value = noisy(p["v2"], jax.nn.relu(noisy(p["v1"], h, keys[0])), keys[1])[:, None]
        advantage = noisy(p["a2"], jax.nn.relu(noisy(p["a1"], h, keys[2])), keys[3]).reshape(-1, 3, 11)
        return value + advantage - advantage.mean(axis=1, keepdims=True)

    def loss(online, target, state, action, reward, done, after, weights, rng):
        keys = jax.random.split(rng, 3)
        q = (jax.nn.softmax(logits(online, after, keys[0])) * support).sum(-1)
        p = jax.nn.softmax(logits(target, after, keys[1]))[jnp.arange(len(q)), q.argmax(-1)]
        z = jnp.clip(reward[:, None] + 0.99 * (1 - done[:, None]) * support, -10, 10)
        share = jnp.clip(1 - jnp.abs(z[:, None] - support[:, None]) / 2.0, 0, 1)
        projected = jax.lax.stop_gradient((share * p[:, None]).sum(-1))
        log_p = jax.nn.log_softmax(logits(online, state, keys[2]))[jnp.arange(len(q)), action]
        return jnp.mean(weights * -jnp.sum(projected * log_p, axis=-1))

    def init(k):
        def one(a, b):
            return {"w": jnp.ones((a, b)), "sw": jnp.ones((a, b)), "b": jnp.zeros(b), "sb": jnp.zeros(b)}

        return {
            "torso": linear_init(k, 4, 8)[0],
            **{"v1": one(8, 6), "v2": one(6, 11), "a1": one(8, 6), "a2": one(6, 33)},
        }

    params = jax.eval_shape(init, key())
    return loss, (params, params, f32(5, 4), i32(5), f32(5), f32(5), f32(5, 4), f32(5), key())


# an ensemble of dynamics models: 2 swish layers under a vmap; log-variances are bounded by softplus from both sides
@expect(silu=2, softplus=2)
def equinox_ensemble_dynamics_loss():
    class Dynamics(eqx.Module):
        layers: list
        most: jax.Array
        least: jax.Array

        def __init__(self, k):
            ks = jax.random.split(k, 3)
            self.layers = [eqx.nn.Linear(*s, key=j) for s, j in zip(((5, 8), (8, 8), (8, 8)), ks, strict=True)]
            self.most, self.least = jnp.full(4, 0.5), jnp.full(4, -10.0)

        def __call__(self, x):
            for layer in self.layers[:-1]:
                x = jax.nn.swish(layer(x))
            mean, log_var = jnp.split(self.layers[-1](x), 2)
            log_var = self.most - jax.nn.softplus(self.most - log_var)
            return mean, self.least + jax.nn.softplus(log_var - self.least)

    def loss(models, x, y):
        @functools.partial(eqx.filter_vmap, in_axes=(eqx.if_array(0), 0, 0))
        def one(model, x, y):
            mean, log_var = jax.vmap(model)(x)
            return jnp.mean((mean - y) ** 2 * jnp.exp(-log_var) + log_var)

        return one(models, x, y).sum() + 0.01 * (models.most.sum() - models.least.sum())

    make = lambda k: eqx.filter_vmap(Dynamics)(jax.random.split(k, 3))  # noqa: E731
    return of_equinox(make, f32(3, 6, 5), f32(3, 6, 4), call=loss)


# Dreamer's loss: SiLU behind norms in encoder, prior and decoder; the GRU's reset, candidate and update (shifted by 1),
# in each of 4 steps; symlog, unimix and free bits are none
@expect(silu=3, sigmoid=2, tanh=1, executions=4 * 5 + 1)
def plain_dreamer_loss():
    def symlog(x):
        return jnp.sign(x) * jnp.log1p(jnp.abs(x))

    def norm(x):
        return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-3)

    def unimix(logits):
        p = 0.99 * jax.nn.softmax(logits.reshape(-1, 2, 4)) + 0.01 / 4
        return jnp.log(p)

    def divergence(p, q):
        return jnp.sum(jnp.exp(p) * (p - q), axis=(-2, -1))

    def loss(p, images, actions, rng):
        def step(state, inputs):
            h, z = state
            image, action, rng = inputs
            x = norm(linear(p["gru"], jnp.concatenate([h, z, action], -1)))
            reset, candidate, update = jnp.split(x, 3, axis=-1)
            candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
            update = jax.nn.sigmoid(update - 1)
            h = update * candidate + (1 - update) * h
            prior = unimix(linear(p["prior2"], jax.nn.silu(norm(linear(p["prior1"], h)))))
            embed = jax.nn.silu(norm(linear(p["encoder"], symlog(image))))
            posterior = unimix(linear(p["posterior"], jnp.concatenate([h, embed], -1)))
            sample = jax.nn.one_hot(jax.random.categorical(rng, posterior), 4)
            probs = jnp.exp(posterior)
            z = (jax.lax.stop_gradient(sample - probs) + probs).reshape(-1, 8)
            stop = jax.lax.stop_gradient
            dynamics = jnp.maximum(divergence(stop(posterior), prior), 1.0)
            representation = jnp.maximum(divergence(posterior, stop(prior)), 1.0)
            return (h, z), (h, z, 0.5 * dynamics + 0.1 * representation)

        n = images.shape[1]
        start = jnp.zeros((n, 6)), jnp.zeros((n, 8))
        _, (h, z, kl) = jax.lax.scan(step, start, (images, actions, jax.random.split(rng, 4)))
        features = jnp.concatenate([h, z], -1)
        out = linear(p["decoder2"], jax.nn.silu(norm(linear(p["decoder1"], features))))
        return jnp.mean((out - symlog(images)) ** 2) + kl.mean()

    def init(k):
        shapes = {"gru": (16, 18), "prior1": (6, 8), "prior2": (8, 8), "encoder": (5, 8), "posterior": (14, 8)}
        return {n: linear_init(k, *s)[0] for n, s in (shapes | {"decoder1": (14, 8), "decoder2": (8, 5)}).items()}

    return of_plain(loss, init, f32(4, 3, 5), f32(4, 3, 2), key())
