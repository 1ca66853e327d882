"""Singular values of Jacobians, per example."""

from ._density import SpectralDensity as SpectralDensity, spectral_density as spectral_density
from ._exact import spectrum as spectrum
from ._layers import SiteSpectrum as SiteSpectrum, layer_spectra as layer_spectra
from ._measures import (
    condition_number as condition_number,
    effective_rank as effective_rank,
    log_volume as log_volume,
    numerical_rank as numerical_rank,
    stable_rank as stable_rank,
)
from ._stack import Scan as Scan, lyapunov_exponents as lyapunov_exponents, stack_spectrum as stack_spectrum
