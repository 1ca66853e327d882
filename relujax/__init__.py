"""How gradients travel through deep JAX networks: see it, measure it, mend it."""

from importlib.metadata import version as _version

from . import init as init
from . import theory as theory
from .functions import (
    ACTIVATIONS as ACTIVATIONS,
)
from .functions import (
    Activation as Activation,
)
from .functions import (
    activation as activation,
)
from .functions import (
    elu as elu,
)
from .functions import (
    leaky_relu as leaky_relu,
)
from .functions import (
    prelu as prelu,
)
from .functions import (
    relu as relu,
)
from .functions import (
    sigmoid as sigmoid,
)
from .functions import (
    tanh as tanh,
)
from .gradients import rectifier as rectifier
from .gradients import residual_bytes as residual_bytes
from .health import (
    Alarm as Alarm,
)
from .health import (
    Summary as Summary,
)
from .health import (
    alarms as alarms,
)
from .health import (
    summarize as summarize,
)
from .probes import (
    Site as Site,
)
from .probes import (
    Stats as Stats,
)
from .probes import (
    merge as merge,
)
from .probes import (
    probe as probe,
)
from .probes import (
    probe_grad as probe_grad,
)
from .probes import (
    sites as sites,
)
from .report import Diagnosis as Diagnosis
from .report import diagnose as diagnose
from .spectra import layer_spectra as layer_spectra
from .spectra import spectrum as spectrum

__version__ = _version("relujax")
