"""Singular values of Jacobians, per example."""

from ._exact import layer_spectra as layer_spectra
from ._exact import numerical_rank as numerical_rank
from ._exact import spectrum as spectrum
