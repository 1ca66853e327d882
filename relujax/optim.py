"""Optax transformations: what to do about units that died."""

import difflib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.nn.initializers import Initializer, lecun_normal

from ._checks import whole
from .health import DORMANT_SHARE, dormant_units
from .probes import SiteStats, Stats, parameter_names


class RecycleState(NamedTuple):
    """The state of :func:`recycle_dormant`.

    Attributes:
        count: updates done.
        recycled: units drawn anew until now, in all layers.
        inner: the state of the optimiser inside.
    """

    count: jax.Array
    recycled: jax.Array
    inner: Any


def recycle_dormant(
    inner: optax.GradientTransformation,
    outgoing: Mapping[str, str],
    *,
    key: jax.Array,
    every: int = 1000,
    share: float = DORMANT_SHARE,
    kernel_init: Initializer | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Draw the weights of dormant units anew, every so many updates (ReDo).

    A unit is dormant where :math:`E|h_i| \le \tau\, \mathrm{mean}_k E|h_k|` over what its layer was shown. The weights
    into it are drawn again, its bias becomes 0, the weights out of it become 0, and the optimiser's moments of all of
    these 0. So a unit that gave nothing goes on giving nothing at first, and the function stays as it is; but a
    gradient reaches it again. Parameters of a norm between a layer and its activation stay as they are.

    Args:
        inner: what turns gradients into updates.
        outgoing: for each layer by the name of its site, the parameter that its units are multiplied with next:
            ``{"hidden/relu": "out/kernel"}``, units along its last axis but one. The weights into a unit are those that
            the probe found before the site.
        key: a random key.
        every: updates between two looks; none is taken at the first update.
        share: the share :math:`\tau` of the layer's mean at which a unit counts as dormant.
        kernel_init: draws the weights into a unit; by default Flax's default, LeCun's.

    Returns:
        A transformation whose ``update`` takes ``stats=``, what :func:`relujax.probe_grad` gave for these gradients, or
        :func:`relujax.merge` of several batches. Its state counts the units in ``recycled``.

    Raises:
        ValueError: for a name that is no site or parameter, shapes that do not fit, a layer of a scan over layers, or
            ``update`` without parameters or statistics.

    Cost: that of ``inner``, a mask per layer and step, and the drawing of all kernels in the steps that look.

    Reference: Sokar et al., `2023 <https://arxiv.org/abs/2302.12902>`_, whose share is 0.025 or 0.1 and whose interval
    is 1,000 updates.

    >>> import relujax as rx
    >>> params = {"hidden": jnp.array([[1.0, -1.0]]), "out": jnp.array([[1.0], [1.0]])}
    >>> loss = lambda params, x: jnp.mean(rx.relu(x @ params["hidden"]) @ params["out"])
    >>> optimizer = recycle_dormant(optax.sgd(0.0), {"hidden/relu": "out"}, key=jax.random.key(0), every=1)
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     (_, grads), stats = rx.probe_grad(loss)(params, jnp.ones((8, 1)))
    ...     updates, state = optimizer.update(grads, state, params, stats=stats)
    ...     params = optax.apply_updates(params, updates)
    >>> state.recycled.item(), params["hidden"][0, 0].item(), params["out"].ravel().tolist()
    (1, 1.0, [1.0, 0.0])
    """
    whole("every", every)
    if not 0 <= share < math.inf:
        raise ValueError(f"got share={share!r}: expected a number from 0 on; ReDo has 0.025 or 0.1")
    if not outgoing:
        raise ValueError("got no layers: expected at least one, such as {'hidden/relu': 'out/kernel'}")
    inner, kernel_init = optax.with_extra_args_support(inner), kernel_init or lecun_normal()

    def init(params: Any) -> Any:
        return RecycleState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), inner.init(params))

    def update(
        updates: Any, state: Any, params: Any = None, *, stats: Stats | None = None, **extra: Any
    ) -> tuple[Any, Any]:
        if params is None or stats is None:
            missing = "params" if params is None else "stats"
            raise ValueError(
                f"got an update without {missing}: expected optimizer.update(grads, state, params, stats=stats), with "
                "the statistics that rx.probe_grad gives beside the gradients"
            )
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        leaves, treedef = jax.tree.flatten(params)
        plan = _Plan(dict(zip(parameter_names((params,)), leaves, strict=True)))
        for name, path in outgoing.items():
            plan.add(_site(stats, name), path, share)

        looks = (state.count > 0) & (state.count % every == 0)

        def anew(updates: Any, inner_state: Any) -> tuple[Any, Any]:
            drawn = plan.drawn(jax.random.fold_in(key, state.count), kernel_init)
            masks, targets = (jax.tree.unflatten(treedef, part) for part in drawn)
            updates = jax.tree.map(
                lambda u, p, mask, t: jnp.where(mask, (t - p).astype(u.dtype), u), updates, params, masks, targets
            )
            return updates, optax.tree.map_params(
                inner, lambda moment, mask: jnp.where(mask, jnp.zeros((), moment.dtype), moment), inner_state, masks
            )

        updates, inner_state = jax.lax.cond(looks, anew, lambda *same: same, updates, inner_state)
        recycled = state.recycled + jnp.where(looks, plan.units, 0)
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, RecycleState(count, recycled, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _site(stats: Stats, name: str) -> SiteStats:
    if name not in stats:
        near = difflib.get_close_matches(name, stats, n=3) or list(stats)[:5]
        raise ValueError(f"got {name!r}, which is no site of these statistics: expected one such as {', '.join(near)}")
    found = stats[name]
    if found.site.steps:
        raise ValueError(
            f"got {name!r}, which is in a scan: expected a layer with weights of its own, as what a unit of a stacked "
            "layer goes into is in the next slice"
        )
    return found


class _Plan:
    """Which entries of which parameters are to be drawn anew.

    Attributes:
        units: how many units, in all layers that were added.
    """

    def __init__(self, params: Mapping[str, jax.Array]) -> None:
        self._params = params
        self._into: dict[str, jax.Array] = {}
        self._out_of: dict[str, jax.Array] = {}
        self.units: Any = jnp.zeros((), jnp.int32)

    def add(self, stats: SiteStats, outgoing: str, share: float) -> None:
        """A layer, and what its units go into."""
        mask = jnp.asarray(dormant_units(stats, share))
        into = [name for name in stats.site.weights if self._of_units(name, mask, axis=-1)]
        if not into:
            raise ValueError(
                f"got {stats.site.name!r}, before which no parameter has {mask.size} units along its last axis: "
                "expected the layer that it activates; were the statistics taken with these parameters as first "
                "argument?"
            )
        if outgoing not in self._params:
            near = difflib.get_close_matches(outgoing, self._params, n=3) or list(self._params)[:5]
            raise ValueError(f"got {outgoing!r}, which is no parameter: expected one such as {', '.join(near)}")
        if not self._of_units(outgoing, mask, axis=-2):
            raise ValueError(
                f"got {outgoing!r} of shape {self._params[outgoing].shape} behind {stats.site.name!r}: expected its "
                f"{mask.size} units along the last axis but one"
            )
        self._into |= dict.fromkeys(into, mask)
        self._out_of[outgoing] = self._out_of.get(outgoing, jnp.zeros((), bool)) | mask[:, None]
        self.units = self.units + jnp.sum(mask, dtype=jnp.int32)

    def _of_units(self, name: str, mask: jax.Array, axis: int) -> bool:
        shape = jnp.shape(self._params[name]) if name in self._params else ()
        return len(shape) >= -axis and shape[axis] == mask.size

    def drawn(self, key: jax.Array, kernel_init: Initializer) -> tuple[list, list]:
        """For each parameter what is replaced, as a mask of its shape, and by what."""
        masks, targets = [], []
        for number, (name, leaf) in enumerate(self._params.items()):
            out_of = jnp.broadcast_to(self._out_of.get(name, jnp.zeros((), bool)), leaf.shape)
            into = jnp.broadcast_to(self._into.get(name, jnp.zeros((), bool)), leaf.shape)
            target = jnp.zeros_like(leaf)
            if name in self._into and leaf.ndim > 1:
                target = jnp.where(into, kernel_init(jax.random.fold_in(key, number), leaf.shape, leaf.dtype), 0)
            masks.append(into | out_of)
            targets.append(target)
        return masks, targets
