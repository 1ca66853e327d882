"""One bit per element: packing loses nothing, and is NumPy's packing."""

import jax
import numpy as np
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from relujax.gradients import pack_bits, unpack_bits

# Few lengths, around one and two bytes: every new shape compiles.
LENGTHS = st.sampled_from([0, 1, 7, 8, 9, 17])
MASKS = st.one_of(st.just(()), st.tuples(LENGTHS), st.tuples(st.just(2), LENGTHS)).flatmap(
    lambda shape: hnp.arrays(bool, shape)
)


@jax.jit
def there_and_back(mask):
    packed = pack_bits(mask)
    return packed, unpack_bits(packed, mask.shape)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(MASKS)
def test_round_trip_as_numpy_packs(mask):
    packed, back = there_and_back(mask)
    assert (packed.dtype, back.dtype) == (np.uint8, bool)
    np.testing.assert_array_equal(packed, np.packbits(np.atleast_1d(mask), axis=-1))
    np.testing.assert_array_equal(back, mask)


def test_under_vmap():
    masks = np.random.default_rng(0).random((3, 2, 11)) < 0.5
    _, back = jax.vmap(there_and_back, in_axes=1)(masks)
    np.testing.assert_array_equal(back, masks.swapaxes(0, 1))
