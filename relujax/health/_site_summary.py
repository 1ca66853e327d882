"""What was seen at one site, as the numbers that people read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..probes import layer_suffix


@dataclass(frozen=True)
class SiteSummary:
    """What was seen at one site; at one of its layers, where it stands in a scan over the layers of a stack.

    Attributes:
        name: the site's name; followed by ``[i]``, or ``[i,j]``, for layer ``i`` of a scan over layers.
        kind: its activation.
        source: ``file:line`` of the call, or None.
        shape: shape of its output in the batch that was traced, the examples first.
        dtype: dtype of its output.
        units: length of its last axis.
        executions: how often it runs per call of the function; None where that depends on the data.
        examples: examples seen. One that was seen at every time step of a scan is one example.
        active_fraction: share of active elements (positive; for sigmoid and tanh, not saturated).
        dead: units whose slope stayed below 1/1000 of the steepest on every element seen.
        dead_bound: with 95 % confidence, a dead unit fires on at most this share of examples (3/n).
        mean: mean output: the shift of an activation that is not zero-centred.
        std: standard deviation of the output; infinite where the squares overflowed.
        largest: the largest absolute output.
        nonfinite: how many outputs were NaN or infinite.
        active_histogram: examples by share of active elements, equal bins of [0, 1]; over a scan in time, examples
            and steps.
        signal_norm: root mean square over examples of the L2 norm of the gradient of one example's loss with respect
            to this site's output; None without a loss.
        signal_zero_fraction: share of entries of that gradient that are exactly 0.
        weight_gradient_norm: L2 norm of the mean loss's gradient with respect to the weights before this site.
        weight_gradient_mean: mean absolute entry of that gradient.
        singular_values: of the Jacobian from input to this site, descending, each the median over examples; those
            lost in rounding are left out.
        rank: median over examples of how many singular values stand above rounding.
        effective_rank: of the same Jacobians, by :func:`relujax.spectra.effective_rank`, median over examples.
        stable_rank: likewise, by :func:`relujax.spectra.stable_rank`.
        condition_number: the largest singular value over the smallest that stands above rounding, median over the
            examples that have one; None where none has.
        log_volume: sum of the logarithms of those above rounding, in nats, likewise: what becomes of the volume in the
            directions that are not lost.
        dormant: units whose mean absolute output is at most :data:`~relujax.health.DORMANT_SHARE` of the mean over the
            layer's units (ReDo, arXiv 2302.12902). For kinds that can be negative the root mean square takes the place
            of the mean absolute output, which the sums do not hold. Dead ReLUs are among them.
        silent: units whose largest absolute output stayed below :data:`~relujax.health.SILENT_OUTPUT`: the absolute
            counterpart. Stricter than TheDeepChecker, which asks it of the 95th percentile: what is silent here is so
            there.
        saturated_fraction: share of elements whose slope is below 1/1000 of the steepest, for kinds that saturate
            (sigmoid, tanh and the like); None for the others.
        saturated: units of which more than 99 % of the elements are saturated; None for kinds that do not saturate.
        weights: paths of the parameters before this site.
        output_histogram: outputs by value, where the probe was given edges: below the first, between each two, from the
            last one up; else None.
        output_edges: those edges, or None.
        activation_gain: factor by which this activation's slopes change the norm of the gradient that comes back
            through it; None unless :func:`relujax.probe_grad` was asked for ``gains``, and for gated units.
        weight_gain: factor by which all that lies between the site before and this one (weights, norms, sums of
            branches) changes it further; None for the first site. The product of both is the ratio of the two sites'
            ``signal_norm``, so that their logarithms divide the change of the log gradient norm between the two.
        step: for a layer of a scan over layers, which one it is, outermost scan first; else ``()``.
        steps: how many layers those scans have.
        reached: whether there is a way for the gradient from the loss to this site; there is none behind
            ``stop_gradient`` or whole numbers alone.
    """

    name: str
    kind: str
    source: str | None
    shape: tuple[int, ...]
    dtype: str
    units: int
    executions: int | None
    examples: int
    active_fraction: float
    dead: int
    dead_bound: float
    mean: float
    std: float
    largest: float
    nonfinite: int
    active_histogram: tuple[int, ...]
    signal_norm: float | None = None
    signal_zero_fraction: float | None = None
    weight_gradient_norm: float | None = None
    weight_gradient_mean: float | None = None
    singular_values: tuple[float, ...] | None = None
    rank: float | None = None
    effective_rank: float | None = None
    stable_rank: float | None = None
    condition_number: float | None = None
    log_volume: float | None = None
    dormant: int = 0
    silent: int = 0
    saturated_fraction: float | None = None
    saturated: int | None = None
    weights: tuple[str, ...] = ()
    output_histogram: tuple[int, ...] | None = None
    output_edges: tuple[float, ...] | None = None
    activation_gain: float | None = None
    weight_gain: float | None = None
    step: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    reached: bool = True

    def measured(self) -> dict[str, float | None]:
        """What one watches over training, one number each; None where it was not measured."""
        shares = {f"{name}_fraction": getattr(self, name) / self.units for name in ("dead", "dormant", "silent")}
        numbers = ("mean", "std", "largest", "nonfinite", "signal_norm", "signal_zero_fraction", "activation_gain")
        rest = (*numbers, "weight_gain", "weight_gradient_norm", "saturated_fraction")
        return {"active_fraction": self.active_fraction, **shares, **{name: getattr(self, name) for name in rest}}

    @property
    def site(self) -> str:
        """The name of its site in the statistics."""
        return self.name.removesuffix(layer_suffix(self.step))

    @property
    def dead_fraction(self) -> float:
        """Share of dead units."""
        return self.dead / self.units

    @property
    def largest_singular_value(self) -> float | None:
        """The first of ``singular_values``; None where none was measured."""
        return self.singular_values[0] if self.singular_values else None

    @property
    def root_mean_square(self) -> float:
        """The size of the signal going forward, the outputs' mean and spread together."""
        return math.hypot(self.mean, self.std)

    def weights_in(self, leaves: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays of its ``weights`` by path; of weights that are stacked by layer, this layer's.

        Args:
            leaves: arrays by path, as :func:`relujax.probes.parameter_names` names them.
        """
        found = {}
        for name in self.weights:
            if name in leaves:
                stacked = self.step and np.shape(leaves[name])[: len(self.steps)] == self.steps
                found[name + layer_suffix(self.step) if stacked else name] = (
                    leaves[name][self.step] if stacked else leaves[name]
                )
        return found
