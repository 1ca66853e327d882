"""The kernels of an infinitely wide stack: of its outputs at initialisation (NNGP), and of its training (NTK)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._checks import whole
from ._dual import Dual
from ._elementwise import Elementwise, elementwise
from ._homogeneous import homogeneous
from ._length_map import check_variances


def nngp(
    f: str | Callable,
    depth: int,
    weight_variance: float,
    bias_variance: float = 0.0,
    *,
    kinks: tuple[float, ...] | None = None,
) -> Callable[..., np.ndarray]:
    r"""The covariance of an infinitely wide plain stack's outputs at initialisation.

    .. math:: K_0 = \sigma_w^2 \frac{x x^\top}{n} + \sigma_b^2, \qquad K_{l+1} = \sigma_w^2 E f(u) f(v) + \sigma_b^2,
        \quad (u, v) \sim N(0, K_l)

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        depth: activations from input to output; a linear layer comes before each, and one after the last.
        weight_variance: :math:`\sigma_w^2`, the variance of a weight times fan-in.
        bias_variance: :math:`\sigma_b^2`.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        ``kernel(x)``: ``(examples, features)`` to ``(examples, examples)``; or ``kernel(gram=x @ x.T / features)``.

    Raises:
        ValueError: for a depth below 0, bad variances, an array that is no matrix, or an input of length 0 without
            bias; and as :func:`moments` does.

    Cost: closed forms for (leaky) ReLU; else 10 ms per layer for each length among the inputs, and 10 ms more for each
    pair whose correlation is above 0.94 where ``f`` has kinks.

    Reference: Lee et al., `2018 <https://arxiv.org/abs/1711.00165>`_.

    >>> nngp("relu", 1, 2.0)(np.eye(2) * np.sqrt(2)).round(4).tolist()
    [[2.0, 0.6366], [0.6366, 2.0]]
    """
    return _Stack(elementwise(f, kinks), depth, weight_variance, bias_variance).nngp


def ntk(
    f: str | Callable,
    depth: int,
    weight_variance: float,
    bias_variance: float = 0.0,
    *,
    kinks: tuple[float, ...] | None = None,
) -> Callable[..., np.ndarray]:
    r"""The neural tangent kernel of an infinitely wide plain stack: inner products of gradients of its output.

    .. math:: \Theta_0 = K_0, \qquad \Theta_{l+1} = K_{l+1} + \Theta_l \odot \sigma_w^2 E f'(u) f'(v)

    With ``K`` of :func:`nngp`, in the NTK parametrisation, ``f(x) @ w * sqrt(weight_variance / fan_in) + b *
    sqrt(bias_variance)``, all weights and biases trained.

    Args:
        f: as for :func:`nngp`, like the other arguments.
        depth: activations from input to output.
        weight_variance: :math:`\sigma_w^2`.
        bias_variance: :math:`\sigma_b^2`.
        kinks: points where ``f`` is not smooth.

    Returns:
        ``kernel(x)``, or ``kernel(gram=...)``, as :func:`nngp` does.

    Raises:
        ValueError: as :func:`nngp` does.

    Cost: twice that of :func:`nngp`.

    Reference: Jacot et al., `2018 <https://arxiv.org/abs/1806.07572>`_.

    >>> ntk("relu", 1, 2.0)(np.eye(2) * np.sqrt(2)).round(4).tolist()
    [[4.0, 0.6366], [0.6366, 4.0]]
    """
    return _Stack(elementwise(f, kinks), depth, weight_variance, bias_variance).ntk


@dataclass(frozen=True)
class _Stack:
    fun: Elementwise
    depth: int
    weight_variance: float
    bias_variance: float

    def __post_init__(self) -> None:
        check_variances(self.weight_variance, self.bias_variance)
        whole("depth", self.depth, least=0)

    def nngp(self, x: ArrayLike | None = None, *, gram: ArrayLike | None = None) -> np.ndarray:
        """What :func:`nngp` returns."""
        return self._kernels(_gram(x, gram), tangent=False)[0]

    def ntk(self, x: ArrayLike | None = None, *, gram: ArrayLike | None = None) -> np.ndarray:
        """What :func:`ntk` returns."""
        return self._kernels(_gram(x, gram), tangent=True)[1]

    def _kernels(self, gram: np.ndarray, tangent: bool) -> tuple[np.ndarray, np.ndarray]:
        """That of the outputs, and that of the gradients if it is wanted."""
        kernel = self.weight_variance * gram + self.bias_variance
        trained = kernel
        for _ in range(self.depth):
            q = np.diag(kernel)
            if not (q > 0).all():
                raise ValueError("got an input of length 0: expected a positive variance; drop it or add a bias")
            # Not sqrt(q q'): what is equal must have the correlation 1.
            c = np.clip(kernel / np.sqrt(q) / np.sqrt(q)[:, None], -1, 1)
            np.fill_diagonal(c, 1)
            kernel = self.weight_variance * _values(self.fun, q, c) + self.bias_variance
            if tangent:
                trained = kernel + trained * self.weight_variance * _slopes(self.fun, q, c)
        return kernel, trained


def _gram(x: ArrayLike | None, gram: ArrayLike | None) -> np.ndarray:
    if (x is None) == (gram is None):
        raise ValueError("got both or neither of x and gram: expected one of them; pass x, or gram=x @ x.T / features")
    name, given = ("x", x) if gram is None else ("gram", gram)
    array = np.asarray(given, float)
    square = array.ndim == 2 and array.shape[0] == array.shape[1] and np.allclose(array, array.T)
    if array.ndim != 2 or not np.isfinite(array).all() or (gram is not None and not square):
        shape = "(examples, features)" if gram is None else "(examples, examples), symmetric"
        raise ValueError(f"got {name} of shape {array.shape}: expected finite numbers of shape {shape}")
    if gram is None:
        return array @ array.T / array.shape[1]
    squared = np.diag(array)
    if (squared < 0).any():
        raise ValueError("got a gram with negative squared lengths: expected x @ x.T / features")
    most = np.sqrt(squared) * np.sqrt(squared)[:, None]
    beyond = np.abs(array) > most * (1 + 1e-6)
    if beyond.any():
        worst = (array[beyond] / most[beyond])[0] if most[beyond][0] else np.inf
        raise ValueError(
            f"got a gram with a correlation of {worst:.4g} between two inputs: expected x @ x.T / features, whose "
            "correlations lie in [-1, 1]"
        )
    return array


def _values(fun: Elementwise, q: np.ndarray, c: np.ndarray) -> np.ndarray:
    bent = homogeneous(fun)
    return np.sqrt(q) * np.sqrt(q)[:, None] * bent.value(c) if bent else _pairs(fun, q, c, slope=False)


def _slopes(fun: Elementwise, q: np.ndarray, c: np.ndarray) -> np.ndarray:
    bent = homogeneous(fun)
    return bent.slope(c) if bent else _pairs(fun, q, c, slope=True)


def _pairs(fun: Elementwise, q: np.ndarray, c: np.ndarray, slope: bool) -> np.ndarray:
    """For each pair of examples; the series of all pairs are summed at once."""
    lengths, index = np.unique(q, return_inverse=True)
    duals = [Dual(fun, float(length), slope) for length in lengths]
    coefficients = np.stack([dual.coefficients for dual in duals])[index]
    found = np.zeros_like(c)
    for column in coefficients.T[::-1]:
        found = found * c + column * column[:, None]
    reached = np.stack([duals[i].reaches(row) for i, row in zip(index, c, strict=True)])
    for i, j in np.argwhere(~(reached & reached.T)):
        if i <= j:
            found[i, j] = found[j, i] = duals[index[i]].plane(float(c[i, j]), duals[index[j]])
    return found
