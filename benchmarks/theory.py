"""Mean-field theory against 30-digit values, and against DeepMind's dks in accuracy and time.

dks (0.1.2; its numpy core still runs) is timed in the same run where it is installed (``pip install dks --no-deps``,
``pip install autograd absl-py``); elsewhere its figures are those of two cores.

python -m benchmarks.theory
"""

import functools
import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import relujax as rx

from ._common import finish
from ._timing import interleaved, ratio

_EXACT_GELU = functools.partial(jax.nn.gelu, approximate=False)
_LEAKY = rx.activation("leaky_relu", negative_slope=0.1)
_ACCURATE, _TIMES = 1e-12, 20

# By 30-digit quadrature split at the kinks (mpmath), or in closed form; q = 1 unless stated.
_MOMENTS = {  # E f, E f^2, E f', E f'^2
    "relu": (0.398942280401433, 0.5, 0.5, 0.5),
    "elu": (0.160520572266556, 0.644945417492924, 0.761578291865123, 0.668102001223171),
    "silu": (0.206620964141907, 0.355775519817352, 0.5, 0.379482351632829),
    "softplus": (0.80605918334744, 0.9212459088593, 0.5, 0.293379035858093),
}
_GAINS = {"relu": 1.4142135623731, "tanh": 1.59253741972283, "elu": 1.24519830070071, "silu": 1.67653247033109}
_CHI1 = {"tanh": 1.17780723230418, "silu": 1.06663424124191, "elu": 1.03590471860435, "sigmoid": 0.152827011715594}
_CORRELATIONS = {  # C(-0.5), C(0), C(0.9), C'(-0.5), C'(0), C'(0.9)
    "relu": (
        0.10899778104422916,
        0.31830988618379064,
        0.9095383988446709,
        0.33333333333333333,
        0.5,
        0.8564337068712926,
    ),
    _LEAKY: (
        -0.01159583896452904,
        0.25527822555333707,
        0.9076496069942412,
        0.46534653465346504,
        0.5990099009900981,
        0.884862675807671,
    ),
    _EXACT_GELU: (
        -0.05339590286164536,
        0.18714358236308462,
        0.8959304414536057,
        0.37094258875897723,
        0.5879289035183427,
        1.010361376034929,
    ),
    "tanh": (-0.4725513993752428, 0.0, 0.8856409589431007, 0.9757859615355777, 0.9304699236152928, 1.1127770109594022),
}
_TANH = (0.7983871143080956, 0.05208623637174879, 1.1367077840956152, 1.4506225445200507, 16.200641688067115)
_LENGTH = 0.4180372005334778  # of tanh at weight variance 1.5 and bias variance 0.05: a fixed point of the length map
_CRITICAL = (1.7609546396067401, 0.5700478816407643)  # of tanh at bias variance 0.05: weight variance and length
_HALF_STABLE = (1.983058257437547, 0.1729223907560673, (3 + 17**0.5) / 2)  # of GELU: Roberts et al., 2021
_SLOPES = {50: 0.4305229485024, 100: 0.57043953105872}  # TAT, plain MLP, eta 0.9
# Seconds of dks 0.1.2 on two cores: the least that was measured there.
_PUBLISHED = {"C(0.5), tanh": 0.13, "C(0.9), tanh": 0.13, "DKS, tanh": 1.4, "TAT, softplus": 4.6, "TAT, silu": 2.4}


def _error(found: Any, wanted: Any) -> float:
    """The largest relative error, absolute below 1."""
    pairs = zip(found, wanted, strict=True)
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)


def _errors() -> dict[str, float]:
    theory = rx.theory
    moments = {name: theory.moments(name) for name in {*_MOMENTS, *_GAINS, *_CHI1}}
    maps = [(theory.correlation_map(f), values) for f, values in _CORRELATIONS.items()]
    at = (-0.5, 0.0, 0.9)
    tanh, critical = theory.depth_scales("tanh", 2.25, 0.0025), theory.critical("tanh", 0.05)
    half = theory.half_stable(_EXACT_GELU)
    return {
        "moments": max(
            _error((m.mean, m.second, m.slope_mean, m.slope_second), _MOMENTS[name])
            for name, m in moments.items()
            if name in _MOMENTS
        ),
        "gains": _error((moments[name].gain for name in _GAINS), _GAINS.values()),
        "chi1": _error((moments[name].chi1 for name in _CHI1), _CHI1.values()),
        "C(c)": max(_error((shared(c) for c in at), values[:3]) for shared, values in maps),
        "C'(c)": max(_error((shared.slope(c) for c in at), values[3:]) for shared, values in maps),
        "length map": _error([theory.length_map("tanh", 1.5, 0.05)(_LENGTH)], [_LENGTH]),
        "q*, c*, chi1, xi_q, xi_c": _error((tanh.q, tanh.c, tanh.chi1, tanh.xi_q, tanh.xi_c), _TANH),
        "critical": _error((critical.weight_variance, critical.q), _CRITICAL),
        "half-stable": _error((half.weight_variance, half.bias_variance, half.q), _HALF_STABLE),
        "tailored slopes": _error(
            (theory.tailor("leaky_relu", depth).negative_slope for depth in _SLOPES), _SLOPES.values()
        ),
    }


def _dks() -> Any:
    try:
        return importlib.import_module("dks.base.activation_transform")
    except ImportError:
        return None


def _in_a_row(x: float, layer: Callable[[float], float]) -> float:
    """A plain stack of 50 layers, as dks asks for a network."""
    return functools.reduce(lambda y, _: layer(y), range(50), x)


def _pairs(dks: Any) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is timed: ours from the name of the function on, compiled before as it is in any second call."""
    names = {"silu": "swish"}

    def correlation(name: str, c: float) -> dict[str, Callable[[], Any]]:
        return {
            "relujax": lambda: rx.theory.correlation_map(name)(c),
            "dks": lambda: dks._calc_c_map(dks._get_numpy_activation_function(name), c=c),
        }

    def tailored(name: str, method: Any) -> dict[str, Callable[[], Any]]:
        return {
            "relujax": lambda: rx.theory.tailor(name, 50, method=method).input_scale,
            "dks": lambda: dks._get_activations_params(
                [names.get(name, name)], method.upper(), subnet_max_func=_in_a_row
            )[names.get(name, name)]["input_scale"],
        }

    return {
        "C(0.5), tanh": correlation("tanh", 0.5),
        "C(0.9), tanh": correlation("tanh", 0.9),
        "DKS, tanh": tailored("tanh", "dks"),
        "TAT, softplus": tailored("softplus", "tat"),
        "TAT, silu": tailored("silu", "tat"),
    }


def _timed(name: str, calls: dict[str, Callable[[], Any]], dks: Any) -> dict[str, Any]:
    if dks is None:
        calls = {"relujax": calls["relujax"]}
    else:
        assert abs(abs(calls["relujax"]()) / abs(calls["dks"]()) - 1) < 1e-7, name
    seconds = interleaved(calls, rounds=3)
    ours = statistics.median(seconds["relujax"])
    peer = statistics.median(seconds["dks"]) if dks else _PUBLISHED[name]
    times = 1 / ratio(seconds, "relujax", "dks") if dks else peer / ours
    return {"what": name, "error": None, "dks, s": peer, "relujax, s": ours, "times faster": times}


def _first_call() -> dict[str, Any]:
    """A function that was never seen: compiled, its kinks found."""
    start = time.perf_counter()
    rx.theory.correlation_map(lambda x: jnp.maximum(jnp.tanh(x), -0.5))(0.9)
    ours = time.perf_counter() - start
    return {"what": "C(0.9), a new function", "error": None, "dks, s": None, "relujax, s": ours, "times faster": None}


def main() -> None:
    dks = _dks()
    errors = _errors()
    rows = [
        {"what": name, "error": error, "dks, s": None, "relujax, s": None, "times faster": None}
        for name, error in errors.items()
    ]
    timed = [_timed(name, calls, dks) for name, calls in _pairs(dks).items()]
    claims = {f"{name}: within {_ACCURATE} of the reference": error <= _ACCURATE for name, error in errors.items()}
    claims |= {f"{row['what']}: {_TIMES} times faster than dks": row["times faster"] >= _TIMES for row in timed}
    source = "dks timed in this run" if dks else "dks as measured before"
    finish("theory", [*rows, *timed, _first_call()], claims, f"Mean-field theory, {source}")


if __name__ == "__main__":
    main()
