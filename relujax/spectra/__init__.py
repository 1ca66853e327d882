"""Singular values of Jacobians, per example."""

from ._exact import layer_spectra as layer_spectra, numerical_rank as numerical_rank, spectrum as spectrum
from ._stack import Scan as Scan, lyapunov_exponents as lyapunov_exponents, stack_spectrum as stack_spectrum
