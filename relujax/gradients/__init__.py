"""How a gradient rule is declared, and what it keeps between the forward and the backward pass."""

from ._bits import pack_bits as pack_bits, unpack_bits as unpack_bits
from ._few_bit import FewBitTable as FewBitTable, few_bit as few_bit, few_bit_table as few_bit_table
from ._rectifier import Rectifier as Rectifier, rectifier as rectifier
from ._residuals import residual_bytes as residual_bytes
from ._surrogate import surrogate as surrogate
