"""Haiku, its own networks among them."""

import haiku as hk
import jax
import jax.numpy as jnp

from .entry import expect, f32, i32, key, of_haiku


# 1 in the stem, 2 in each of 2 + 2 + 2 + 2 blocks
@expect(relu=17)
def haiku_resnet18_train():
    return of_haiku(lambda x: hk.nets.ResNet18(10)(x, is_training=True), f32(2, 32, 32, 3))


# preactivated: 2 in each of 8 blocks, 1 at the end
@expect(relu=17)
def haiku_resnet18_v2_eval():
    model = hk.transform_with_state(lambda x, train: hk.nets.ResNet18(10, resnet_v2=True)(x, is_training=train))
    x = f32(2, 32, 32, 3)
    params, state = jax.eval_shape(lambda key, x: model.init(key, x, True), key(), x)
    return lambda params, state, x: model.apply(params, state, None, x, False)[0], (params, state, x)


# 1 in the stem, 2 in each of 13 separable blocks
@expect(relu=27)
def haiku_mobilenet_v1():
    return of_haiku(lambda x: hk.nets.MobileNetV1(num_classes=10)(x, is_training=True), f32(2, 32, 32, 3))


def haiku_gpt(tokens, depth=3, dim=32):
    init = hk.initializers.VarianceScaling(2 / depth)
    x = hk.Embed(64, dim)(tokens) + hk.get_parameter("positions", [tokens.shape[1], dim], init=jnp.zeros)
    mask = jnp.tril(jnp.ones((1, 1, tokens.shape[1], tokens.shape[1])))
    for _ in range(depth):
        h = hk.LayerNorm(axis=-1, create_scale=True, create_offset=True)(x)
        h = hk.MultiHeadAttention(4, 8, model_size=dim, w_init=init)(h, h, h, mask=mask)
        x = x + hk.dropout(hk.next_rng_key(), 0.1, h)
        h = hk.LayerNorm(axis=-1, create_scale=True, create_offset=True)(x)
        h = hk.Sequential([hk.Linear(4 * dim, w_init=init), jax.nn.gelu, hk.Linear(dim, w_init=init)])(h)
        x = x + hk.dropout(hk.next_rng_key(), 0.1, h)
    return hk.Linear(64)(hk.LayerNorm(axis=-1, create_scale=True, create_offset=True)(x))


# 1 in each of 3 blocks
@expect(gelu=3)
def haiku_transformer_dropout():
    return of_haiku(haiku_gpt, i32(2, 12))


# 1 in the body of the scan over layers, which runs 4 times
@expect(relu=1, executions=4)
def haiku_layer_stack():
    def forward(x):
        def layer(x):
            h = hk.LayerNorm(-1, True, True)(x)
            return x + hk.Linear(x.shape[-1])(jax.nn.relu(hk.Linear(32)(h)))

        return hk.Linear(10)(hk.experimental.layer_stack(4)(layer)(x))

    return of_haiku(forward, f32(2, 16))


# IMPALA: 2 residual blocks of 2 in each of 2 sections, 1 behind them, 1 dense; the LSTM: 3 sigmoid and 2 tanh, 6 times
@expect(relu=10, sigmoid=3, tanh=2, executions=10 + 5 * 6)
def haiku_impala_lstm():
    def torso(x):
        for channels in (4, 8):
            x = hk.Conv2D(channels, 3)(x)
            x = hk.max_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), padding="SAME")
            for _ in range(2):
                h = hk.Conv2D(channels, 3)(jax.nn.relu(x))
                x = x + hk.Conv2D(channels, 3)(jax.nn.relu(h))
        x = hk.Flatten()(jax.nn.relu(x))
        return jax.nn.relu(hk.Linear(32)(x))

    def forward(frames):
        h = hk.BatchApply(torso)(frames / 255.0)
        core = hk.LSTM(16)
        h, _ = hk.dynamic_unroll(core, h, core.initial_state(frames.shape[1]))
        h = hk.BatchApply(hk.Linear(6))(h)
        return jax.nn.log_softmax(h), jnp.argmax(h, axis=-1)

    return of_haiku(forward, f32(6, 2, 16, 16, 3))


# 2 hidden layers of the encoder; the deviation is a softplus; 1 hidden layer of the decoder; the image is a sigmoid
@expect(relu=3, softplus=1, sigmoid=1)
def haiku_vae():
    def forward(x):
        h = hk.nets.MLP([32, 16], activate_final=True)(hk.Flatten()(x))
        mean, deviation = hk.Linear(4)(h), jax.nn.softplus(hk.Linear(4)(h))
        z = mean + deviation * jax.random.normal(hk.next_rng_key(), mean.shape)
        return jax.nn.sigmoid(hk.nets.MLP([32, 64])(z)), mean, deviation

    return of_haiku(forward, f32(2, 8, 8, 1))


# Perceiver: one cross-attention and 2 self-attentions, an MLP behind each
@expect(quick_gelu=3)
def haiku_perceiver():
    def mlp(x):
        h = hk.Linear(64)(hk.LayerNorm(-1, True, True)(x))
        return hk.Linear(32)(h * jax.nn.sigmoid(1.702 * h))

    def forward(x):
        init = hk.initializers.VarianceScaling(1.0)
        latents = hk.get_parameter("latents", [8, 32], init=hk.initializers.TruncatedNormal(0.02))
        z = jnp.broadcast_to(latents, (x.shape[0], 8, 32))
        inputs = hk.LayerNorm(-1, True, True)(x)
        z = z + hk.MultiHeadAttention(1, 16, w_init=init, model_size=32)(z, inputs, inputs)
        z = z + mlp(z)
        norm = hk.LayerNorm(-1, True, True)
        attention = hk.MultiHeadAttention(2, 16, w_init=init, model_size=32)
        for _ in range(2):
            h = norm(z)
            z = z + attention(h, h, h)
            z = z + mlp(z)
        return hk.Linear(10)(z.mean(axis=1))

    return of_haiku(forward, f32(2, 20, 8))
