"""A few bits per element: packing loses nothing, and is NumPy's packing."""

import functools

import jax
import numpy as np
import pytest
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


@functools.partial(jax.jit, static_argnames="bits")
def codes_there_and_back(codes, bits):
    packed = pack_bits(codes, bits)
    return packed, unpack_bits(packed, codes.shape, bits)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 1), (2, 7), (3, 17)])
def test_codes_follow_each_other_in_a_byte_the_first_on_top(bits, shape):
    codes = np.random.default_rng(bits).integers(2**bits, size=shape, dtype=np.uint8)
    packed, back = codes_there_and_back(codes, bits)
    planes = np.unpackbits(np.atleast_1d(codes)[..., None], axis=-1)[..., 8 - bits :]  # each code's, its highest first
    rows = planes.reshape(*planes.shape[:-2], planes.shape[-2] * bits)
    np.testing.assert_array_equal(packed, np.packbits(rows, axis=-1))
    np.testing.assert_array_equal(back, codes)
    assert (packed.dtype, back.dtype, back.shape) == (np.uint8, np.uint8, shape)


def test_under_vmap():
    masks = np.random.default_rng(0).random((3, 2, 11)) < 0.5
    _, back = jax.vmap(there_and_back, in_axes=1)(masks)
    np.testing.assert_array_equal(back, masks.swapaxes(0, 1))
