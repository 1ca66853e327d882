"""How gradients travel through deep JAX networks: see it, measure it, mend it."""

from .functions import (
    ACTIVATIONS as ACTIVATIONS,
    Activation as Activation,
    activation as activation,
    elu as elu,
    leaky_relu as leaky_relu,
    prelu as prelu,
    relu as relu,
    sigmoid as sigmoid,
    tanh as tanh,
)
from .gradients import rectifier as rectifier, residual_bytes as residual_bytes
from .probes import (
    Site as Site,
    Stats as Stats,
    merge as merge,
    probe as probe,
    probe_grad as probe_grad,
    sites as sites,
)
