"""One bit per element: packing loses nothing, and is NumPy's packing."""

import jax
import numpy as np
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from relujax.gradients import pack_bits, unpack_bits

# Few lengths, around one and two bytes: every new shape compiles.
LENGTHS = st.sampled_from([0, 1, 3, 7, 8, 9, 16, 17])
MASKS = st.one_of(st.just(()), st.tuples(LENGTHS), st.tuples(st.sampled_from([1, 2]), LENGTHS)).flatmap(
    lambda shape: hnp.arrays(bool, shape)
)
once = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@once
@given(MASKS)
def test_round_trip(mask):
    back = unpack_bits(pack_bits(mask), mask.shape)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


@once
@given(MASKS)
def test_one_bit_per_element_as_numpy_packs(mask):
    packed = pack_bits(mask)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed, np.packbits(np.atleast_1d(mask), axis=-1))


def test_under_vmap_and_jit():
    masks = np.random.default_rng(0).random((3, 2, 11)) < 0.5
    back = jax.jit(jax.vmap(lambda mask: unpack_bits(pack_bits(mask), mask.shape), in_axes=1))(masks)
    np.testing.assert_array_equal(back, masks.swapaxes(0, 1))
