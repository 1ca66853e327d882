"""Precision and recall of the finder on models that were written without it in mind."""

import functools
from collections import Counter

import jax
import pytest
from zoo import ENTRIES

import relujax as rx

pytestmark = pytest.mark.own_precision  # some of the models trace in 32 bits only

EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@functools.cache
def found(entry):
    # Traced as their authors would: people promote dtypes and ranks, only the tests of this library do not.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        fun, args = entry.build()
        return rx.sites(fun, *args)


def kinds(entry):
    return Counter(site.kind for site in found(entry))


@EVERY
def test_the_sites_are_those_the_author_would_count(entry):
    assert kinds(entry) == entry.kinds


@EVERY
def test_names_are_unique(entry):
    names = Counter(site.name for site in found(entry))
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.executions is not None], ids=lambda entry: entry.name)
def test_a_scan_counts_its_steps(entry):
    assert sum(site.executions for site in found(entry)) == entry.executions


def test_precision_and_recall_over_the_whole_zoo(capsys):
    right = sum((kinds(entry) & entry.kinds).total() for entry in ENTRIES)
    said, true = (sum(count(entry).total() for entry in ENTRIES) for count in (kinds, lambda entry: entry.kinds))
    with capsys.disabled():
        print(f"\n{len(ENTRIES)} models, {true} activations: precision {right / said:.3f}, recall {right / true:.3f}")
    assert right == said == true
