"""A few bits per element: the derivative as a step function, with the steps where they cost least."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._precision import widen
from ._bits import pack_bits, unpack_bits

Weight = Literal["uniform", "gaussian"]

_CELLS = 600  # equal ones, and as many narrow ones where the derivative bends
_BLOCK = 2048
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(4)
# Column j: coefficients of the integral from -1 of the polynomial that is 1 at node j and 0 at the others.
_PRIMITIVES = np.polynomial.polynomial.polyint(np.linalg.inv(np.vander(_NODES, increasing=True)), lbnd=-1, axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class FewBitTable:
    """A step function that stands for a derivative; made by :func:`few_bit_table`.

    Attributes:
        boundaries: float64, ascending, ``2**bits - 1`` of them. A boundary belongs to the piece on its left.
        levels: float64, ``2**bits``: the value on each piece, the first and the last also beyond the interval.
        error: the weighted integral of the squared difference from the derivative. With the Gaussian weight, its
            square root is the RMS error of the slope of a standard normal input.
    """

    boundaries: np.ndarray
    levels: np.ndarray
    error: float


def few_bit(
    fun: Callable, bits: int = 2, *, weight: Weight = "uniform", interval: tuple[float, float] = (-12.0, 12.0)
) -> Callable[[jax.Array], jax.Array]:
    r"""Keep ``bits`` bits per element of an elementwise function for its backward pass, whatever the function.

    The value is :math:`f(x)`, unchanged. The gradient is :math:`g\, q(x)` with a step function

    .. math:: q(x) = \ell_{c(x)}, \quad c(x) = \#\{i : x > b_i\} \in \{0, \dots, 2^{\text{bits}} - 1\},

    where boundaries :math:`b` and levels :math:`\ell` minimise :math:`\int (f'(x) - q(x))^2\, w(x)\, dx`, see
    :func:`few_bit_table`. Only the code :math:`c(x)` is kept. For a function whose derivative takes two values,
    as relu's does, one bit is exact; elsewhere ``q`` is on purpose not the derivative, and so forward mode refuses.
    With the Gaussian weight the slope is right on average, :math:`E\, q(z) = E f'(z)` for :math:`z \sim N(0, 1)`.

    Args:
        fun: an elementwise function of one array, hashable and closed over no traced array: of relujax, of
            ``jax.nn``, or a lambda.
        bits: 1 to 8.
        weight: where to be close to the derivative: ``"uniform"`` or ``"gaussian"``, as by :func:`few_bit_table`.
        interval: where to be close to it at all; beyond, the outermost levels hold.

    Returns:
        A callable of one array, jitted under the name of ``fun``. Equal arguments give the same one, so that it may
        be asked for inside a model. Half precision is compared and multiplied in float32 and rounded once. A NaN has
        no code of its own: its value is NaN, its slope the last level (unless ``g`` is NaN too, as it tends to be).

    Raises:
        ValueError: for other bits, weights or intervals, and where the derivative is not finite on the interval.
        TypeError: when the result is differentiated in forward mode, and for a function that closes over a traced
            value.

    Cost:
        ``bits / 8`` bytes per element, each row ending on a byte (of 3 bits one and two are packed apart, and so on);
        ``2**bits - 1`` comparisons forward and as many selections backward. The table takes 0.1 s to 0.6 s, once.

    Reference:
        Novikov et al., `Few-bit backward <https://arxiv.org/abs/2202.00441>`_, 2022. Their tables are local
        optima; these are global ones.

    >>> import relujax as rx
    >>> gelu = rx.few_bit(jax.nn.gelu, 2)
    >>> x = jnp.array([-3.0, -0.5, 0.5, 3.0])
    >>> bool(jnp.allclose(gelu(x), jax.nn.gelu(x), atol=1e-6)), rx.residual_bytes(gelu, jnp.zeros(1024))
    (True, 256)
    >>> jax.vmap(jax.grad(gelu))(x).tolist()
    [-0.01296, -0.01296, 1.01296, 1.01296]
    """
    return _few_bit(fun, *_checked(bits, weight, interval))


def few_bit_table(
    fun: Callable, bits: int = 2, *, weight: Weight = "uniform", interval: tuple[float, float] = (-12.0, 12.0)
) -> FewBitTable:
    r"""Find the step function that :func:`few_bit` uses for the derivative of ``fun``.

    It minimises :math:`\int_{lo}^{hi} (f'(x) - q(x))^2\, w(x)\, dx` over :math:`2^{\text{bits}}` contiguous pieces,
    with :math:`w = 1` or the standard normal density. On a piece the best level is the weighted mean of :math:`f'`.
    The boundaries come from dynamic programming over a grid of 1200 cells, exact for any :math:`f'`,
    monotone or not; its jumps are on the grid. Then they move off the grid to the optimum nearby.

    Args:
        fun: an elementwise function of one array, hashable and closed over no traced array.
        bits: 1 to 8.
        weight: ``"uniform"`` on the interval, or ``"gaussian"`` for inputs that follow N(0, 1).
        interval: ``(lo, hi)``, finite.

    Returns:
        A :class:`FewBitTable`.

    Raises:
        ValueError: for other bits, weights or intervals, and where the derivative is not finite on the interval.

    Cost:
        About 0.1 s up to 4 bits and 0.6 s for 8, on a CPU. Kept for the next call with the same arguments.

    Reference:
        Novikov et al., `Few-bit backward <https://arxiv.org/abs/2202.00441>`_, 2022.

    >>> table = few_bit_table(jax.nn.silu, 2)
    >>> table.boundaries.round(4).tolist(), table.levels.tolist(), table.error
    ([-0.78, 0.0, 0.78], [-0.0218, 0.3143, 0.6857, 1.0218], 0.0501)
    """
    return _table(fun, *_checked(bits, weight, interval))


def _checked(bits: int, weight: str, interval: tuple[float, float]) -> tuple[int, str, tuple[float, float]]:
    bits = operator.index(bits)
    if not 1 <= bits <= 8:
        raise ValueError(f"got bits={bits}, expected 1 to 8: 2 to 4 are usual, and beyond 8 the input costs as little")
    if weight not in ("uniform", "gaussian"):
        raise ValueError(f"got weight={weight!r}, expected 'uniform' or 'gaussian': choose one of them")
    lo, hi = map(float, interval)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(
            f"got interval={interval!r}, expected finite (lo, hi) with lo < hi: give the range the inputs cover"
        )
    return bits, weight, (lo, hi)


@functools.lru_cache(maxsize=128)
def _few_bit(fun: Callable, bits: int, weight: str, interval: tuple[float, float]) -> Callable:
    table = _table(fun, bits, weight, interval)

    def call(x):
        # One rule per traced call: it closes over the shape and the dtype, which a residual would have to carry.
        x = jnp.asarray(x)
        dtype = x.dtype  # all that the rule may hold of x, which it outlives
        with_rule = jax.custom_vjp(lambda x: fun(x))

        def fwd(x):
            y = with_rule(x)  # and not fun: a second derivative uses the rule again
            return jax.lax.optimization_barrier((y, _packed(_codes(x, table.boundaries), bits)))

        def bwd(packed, g):
            wide = widen(g)
            slopes = _select(_bit_planes(packed, g.shape, bits), table.levels.astype(wide.dtype))
            return ((wide * slopes).astype(dtype),)

        with_rule.defvjp(fwd, bwd)
        return with_rule(x)

    call.__name__ = call.__qualname__ = getattr(fun, "__name__", type(fun).__name__)
    call.__doc__ = f"{call.__name__}, with its derivative in {bits} bits: see few_bit."
    return jax.jit(call)


def _codes(x: jax.Array, boundaries: np.ndarray) -> jax.Array:
    """How many boundaries lie below ``x``, in a byte. "Not at most" instead of "greater": a NaN is above all."""
    wide = widen(x)
    return functools.reduce(operator.add, [(~(wide <= b)).astype(np.uint8) for b in boundaries.astype(wide.dtype)])


def _widths(bits: int) -> Iterator[tuple[int, int]]:
    """Parts of a code of ``bits`` bits that fill bytes without a rest: the bit where each begins, and its width."""
    begin = 0
    for width in (1, 2, 4, 8):
        if bits & width:
            yield begin, width
            begin += width


def _packed(codes: jax.Array, bits: int) -> tuple[jax.Array, ...]:
    parts = [((codes >> np.uint8(begin)) & np.uint8(2**width - 1), width) for begin, width in _widths(bits)]
    return tuple(pack_bits(part.astype(bool) if width == 1 else part, width) for part, width in parts)


def _bit_planes(packed: tuple[jax.Array, ...], shape: tuple[int, ...], bits: int) -> list[jax.Array]:
    """Each bit of the codes, the lowest first."""
    parts = [(unpack_bits(part, shape, width), width) for part, (_, width) in zip(packed, _widths(bits), strict=True)]
    return [(part & np.uint8(2**k)).astype(bool) if width > 1 else part for part, width in parts for k in range(width)]


def _select(planes: list[jax.Array], levels: np.ndarray) -> jax.Array:
    """``levels[code]`` without a gather: halve the choices by one bit after the other."""
    choices = list(levels)
    for plane in planes:
        choices = [jnp.where(plane, odd, even) for even, odd in zip(choices[::2], choices[1::2], strict=True)]
    return choices[0]


@functools.lru_cache(maxsize=512)
def _table(fun: Callable, bits: int, weight: str, interval: tuple[float, float]) -> FewBitTable:
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        found = thread.submit(_on_the_host, _optimum, fun, bits, weight, interval)
        try:
            return found.result()
        except jax.errors.UnexpectedTracerError as error:
            raise TypeError(
                "got a function that closes over a traced value: expected one whose derivative is known before it is "
                "traced; bind plain numbers to it, or make it outside of what jit, vmap or grad transforms"
            ) from error


def _on_the_host(compute: Callable, *args: Any) -> Any:
    """The result, in float64 on the CPU. In a thread of its own nothing is being traced, on no mesh, by no rules."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.transfer_guard("allow"))
        with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS may leave the CPU out
            stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
        return compute(*args)


def _optimum(fun: Callable, bits: int, weight: str, interval: tuple[float, float]) -> FewBitTable:
    slope = _slope(fun)
    edges, jumps = _grid(slope, *interval, weight)
    sums = _Sums(slope, edges, weight)
    boundaries = _polish(sums, _best_cuts(sums.cost, edges, 2**bits), edges, jumps)
    # Once more, with the boundaries among the edges: no interpolation, and no difference of long sums.
    edges = np.union1d(edges, boundaries)
    pieces = np.r_[0, np.searchsorted(edges, boundaries)]
    mass, first, values, masses = _cell_sums(slope, edges, weight)
    levels = np.add.reduceat(first, pieces) / np.add.reduceat(mass, pieces)
    counts = np.diff(np.r_[pieces, len(mass)])
    error = float(np.sum(masses * (values - np.repeat(levels, counts)[:, None]) ** 2))
    boundaries.flags.writeable = levels.flags.writeable = False  # cached, so shared
    return FewBitTable(boundaries, levels, error)


@functools.lru_cache(maxsize=128)
def _slope(fun: Callable) -> Callable[[np.ndarray], np.ndarray]:
    derivative = jax.jit(jax.vmap(jax.grad(lambda x: fun(x))))

    def slope(x: np.ndarray) -> np.ndarray:
        # In blocks of one size, so that it compiles once.
        blocks = np.pad(x.ravel(), (0, -x.size % _BLOCK), mode="edge").reshape(-1, _BLOCK)
        values = np.concatenate([np.asarray(derivative(block), np.float64) for block in blocks])
        values = values[: x.size].reshape(x.shape)
        if not np.isfinite(values).all():
            where = x[~np.isfinite(values)][0]
            raise ValueError(
                f"got a derivative of {values[~np.isfinite(values)][0]} at {where:.6g}, expected finite values on the "
                "interval: choose an interval without that point"
            )
        return values

    return slope


def _density(x: np.ndarray, weight: str) -> np.ndarray:
    if weight == "uniform":
        return np.ones_like(x)
    return np.maximum(np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), 1e-300)  # never 0: far pieces have a mean too


def _grid(slope: Callable, lo: float, hi: float, weight: str) -> tuple[np.ndarray, np.ndarray]:
    """Edges of equal cells and of narrow ones where many steps will lie, with 0 and the jumps; the jumps."""
    edges = np.linspace(lo, hi, _CELLS + 1)
    if lo < 0 < hi:
        edges[1 + np.abs(edges[1:-1]).argmin()] = 0
    # The best steps, when there are many, are as dense as the cube root of f''^2 w.
    fine = np.linspace(lo, hi, 16 * _CELLS + 1)
    middle, width = (fine[:-1] + fine[1:]) / 2, np.diff(fine)
    steps = width * np.cbrt((np.diff(slope(fine)) / width) ** 2 * _density(middle, weight))
    if steps.sum() > 0:
        share = np.r_[0, np.cumsum(steps)] / steps.sum()
        edges = np.union1d(edges, np.interp(np.linspace(0, 1, _CELLS + 1), share, fine))
    # Bisect every cell towards its larger change: only at a jump is a change left in the end.
    a, b = edges[:-1].copy(), edges[1:].copy()
    at_a, at_b = slope(a), slope(b)
    for _ in range(64):
        m = a + (b - a) / 2
        at_m = slope(m)
        left = np.abs(at_m - at_a) > np.abs(at_b - at_m)
        a, at_a = np.where(left, a, m), np.where(left, at_a, at_m)
        b, at_b = np.where(left, m, b), np.where(left, at_m, at_b)
    jumps = np.unique(a[np.abs(at_b - at_a) > 1e-6 * np.ptp(at_a)])
    return np.union1d(edges, jumps), jumps


def _cell_sums(slope: Callable, edges: np.ndarray, weight: str) -> tuple[np.ndarray, ...]:
    """Integrals of the weight and of weight times slope over each cell; slope and weight at the cells' nodes."""
    half = np.diff(edges)[:, None] / 2
    x = edges[:-1, None] + half * (1 + _NODES)
    values = slope(x)
    masses = half * _NODE_WEIGHTS * _density(x, weight)
    return masses.sum(1), (masses * values).sum(1), values, masses


class _Sums:
    """Running integrals of w, w f' and w f'^2, at any point: a polynomial within each cell."""

    def __init__(self, slope: Callable, edges: np.ndarray, weight: str):
        *_, values, masses = _cell_sums(slope, edges, weight)
        self._edges = edges
        self._terms = np.stack([masses, masses * values, masses * values**2])
        self._running = np.pad(np.cumsum(self._terms.sum(2), axis=1), [(0, 0), (1, 0)])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        cell = np.clip(np.searchsorted(self._edges, x, "right") - 1, 0, len(self._edges) - 2)
        left = self._edges[cell]
        place = 2 * (x - left) / (self._edges[cell + 1] - left) - 1
        shares = np.polynomial.polynomial.polyval(place, _PRIMITIVES / _NODE_WEIGHTS)  # (node, *x.shape)
        return self._running[:, cell] + np.einsum("s...n,n...->s...", self._terms[:, cell], shares)

    def cost(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Of one piece from each of ``a`` to each of ``b``, over their last axes; infinite where there is none."""
        mass, first, second = self(b)[..., None, :] - self(a)[..., :, None]
        some = mass > 1e-14 * self._running[0, -1]
        cost = np.where(some, second - first**2 / np.where(some, mass, 1), 0)
        return np.where(b[..., None, :] > a[..., :, None], np.maximum(cost, 0), np.inf)


def _best_cuts(cost: Callable, edges: np.ndarray, pieces: int) -> np.ndarray:
    """The edges between ``pieces`` pieces whose costs have the smallest sum, by dynamic programming: exact."""
    # Transposed, so that each minimum runs along memory: costs[j, i] is that of the piece from edge i to edge j.
    costs = np.ascontiguousarray(cost(edges, edges).T)
    best, steps = costs[:, 0], []
    for _ in range(pieces - 1):
        totals = costs + best
        steps.append(totals.argmin(1))
        best = totals[np.arange(len(edges)), steps[-1]]
    cuts = [len(edges) - 1]
    for step in reversed(steps):
        cuts.append(step[cuts[-1]])
    return np.array(cuts[:0:-1])


def _polish(sums: _Sums, cuts: np.ndarray, edges: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """Move all boundaries at once to the best of 17 places each, in ever narrower windows around them."""
    boundaries, ends = edges[cuts], edges[[0, -1]]
    width = np.maximum(edges[cuts + 1] - boundaries, boundaries - edges[cuts - 1])[:, None]
    rows = np.arange(17)
    shrunk = 0
    for _ in range(100):
        if shrunk == 12:  # to about 1e-9 of the interval: the error is flat there
            break
        places = np.clip(boundaries[:, None] + width * np.linspace(-1, 1, 17), *ends)
        places[:, 8] = boundaries
        for jump in jumps:  # exactly there, or well away from it
            places = np.where(np.abs(places - jump) <= width / 16, jump, places)
        best, steps = sums.cost(ends[:1], places[0])[0], []
        for costs in sums.cost(places[:-1], places[1:]):
            totals = best[:, None] + costs
            steps.append(totals.argmin(0))
            best = totals[steps[-1], rows]
        chosen = [int((best + sums.cost(places[-1], ends[1:])[:, 0]).argmin())]
        for step in reversed(steps):
            chosen.append(step[chosen[-1]])
        choice = np.array(chosen[::-1])
        boundaries = places[np.arange(len(places)), choice]
        if not np.isin(choice, (0, 16)).any():  # else the optimum may lie outside its window
            width, shrunk = np.maximum(width / 4, 1e-9 * (ends[1] - ends[0])), shrunk + 1
    return boundaries
