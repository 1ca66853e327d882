"""What a plain stack does to a signal and to its gradient, layer by layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import whole
from ._elementwise import Elementwise, elementwise
from ._homogeneous import homogeneous
from ._length_map import check_variances
from ._moments import Sample, positive


@dataclass(frozen=True)
class StackLaw:
    r"""A plain stack in the limit of infinite width.

    Attributes:
        lengths: per layer, the variance :math:`q_l` of the pre-activation.
        factors: per layer, the factor :math:`\chi_l` that it puts on the squared norm of the gradient.
        output_rms: per layer, the root mean square of its output, that of :math:`f(\sqrt{q_l} z)`.
    """

    lengths: tuple[float, ...]
    factors: tuple[float, ...]
    output_rms: tuple[float, ...]

    def signal_norms(self, last: float) -> tuple[float, ...]:
        """Norm of the backpropagated signal at each layer's output, from that at the last one's."""
        behind = np.cumprod([1.0, *self.factors[:0:-1]])[::-1]
        return tuple(float(v) for v in last * np.sqrt(behind))

    def jacobian_norms(self) -> tuple[float, ...]:
        r"""Root mean square of the singular values from the input to each layer's output, where widths are equal."""
        return tuple(float(v) for v in np.sqrt(np.cumprod(self.factors)))


def stack_law(
    f: str | Callable | Sequence[str | Callable],
    depth: int,
    weight_variance: float | Sequence[float],
    bias_variance: float | Sequence[float] = 0.0,
    q: float = 1.0,
) -> StackLaw:
    r"""Lengths and gradient factors through a plain stack :math:`h_l = W_l f(h_{l-1}) + b_l`.

    .. math::

        q_{l+1} = \sigma_w^2\, E f(\sqrt{q_l} z)^2 + \sigma_b^2, \qquad \chi_l = \sigma_w^2\, E f'(\sqrt{q_l} z)^2,
        \qquad z \sim N(0, 1)

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function; or one of them per layer.
        depth: how many layers.
        weight_variance: :math:`\sigma_w^2`, the variance of a weight times fan in; or one per layer.
        bias_variance: :math:`\sigma_b^2`; or one per layer.
        q: variance of the first layer's pre-activation: ``weight_variance`` times the inputs' mean square, plus
            ``bias_variance``.

    Returns:
        A :class:`StackLaw`; where a length has vanished or overflowed, what follows is NaN.

    Raises:
        ValueError: for a depth below 1, variances that are not positive and finite, or a sequence that has not one
            entry per layer.

    Cost: one quadrature per layer, none for ReLU and its leaky kin.

    Reference: Poole et al., `2016 <https://arxiv.org/abs/1606.05340>`_; Schoenholz et al.,
    `2017 <https://arxiv.org/abs/1611.01232>`_.

    >>> law = stack_law("relu", 3, weight_variance=1.0)  # Flax's default: half of the squared signal per layer
    >>> law.lengths, law.factors
    ((1.0, 0.5, 0.25), (0.5, 0.5, 0.5))
    """
    whole("depth", depth)
    funs = [elementwise(one) for one in _per_layer("f", f, depth)]
    weights = _per_layer("weight_variance", weight_variance, depth)
    biases = _per_layer("bias_variance", bias_variance, depth)
    for pair in zip(weights, biases, strict=True):
        check_variances(*pair)
    positive(q)
    q, found = float(q), []
    for layer, fun in enumerate(funs):
        if not 1e-280 < q < 1e280:
            found.append((np.nan, np.nan, np.nan))
            continue
        second, slope_second = _moments_at(fun, q)
        found.append((q, float(weights[layer]) * slope_second, float(np.sqrt(second))))
        if layer + 1 < depth:
            q = float(weights[layer + 1]) * second + float(biases[layer + 1])
    return StackLaw(*zip(*found, strict=True))


def _per_layer(name: str, value: Any, depth: int) -> list:
    """One value for all layers, or one each."""
    if isinstance(value, str) or callable(value) or np.ndim(value) == 0:
        return [value] * depth
    if len(value) != depth:
        raise ValueError(f"got {name} of length {len(value)} for {depth} layers: expected one value, or one per layer")
    return np.asarray(value).tolist() if hasattr(value, "dtype") else list(value)


def _moments_at(fun: Elementwise, q: float) -> tuple[float, float]:
    bent = homogeneous(fun)
    if bent is not None:
        return q * bent.second, bent.second
    sample = Sample(fun, q)
    if 0 < sample.second < np.inf:  # else the signal has vanished, in a dead zone, or overflowed
        sample.check()
    return sample.second, sample.slope_second
