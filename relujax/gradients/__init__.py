"""How a gradient rule is declared, and what it keeps between the forward and the backward pass."""

from ._bits import pack_bits as pack_bits, unpack_bits as unpack_bits
from ._rectifier import Rectifier as Rectifier, rectifier as rectifier
from ._residuals import residual_bytes as residual_bytes
