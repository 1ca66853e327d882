"""How a gradient rule is declared, and what it keeps between the forward and the backward pass."""

from ._bits import pack_bits as pack_bits
from ._bits import unpack_bits as unpack_bits
from ._rectifier import Rectifier as Rectifier
from ._rectifier import rectifier as rectifier
from ._residuals import residual_bytes as residual_bytes
