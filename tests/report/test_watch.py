"""A run that is looked at while it goes on, or stopped, gives what there is until then, and says so."""

import pytest
from small_models import PARAMS, X, Y, apply

import relujax as rx
from relujax.report import _diagnose

SIZE = len(X) // 3
BATCHES = [(X[i : i + SIZE], Y[i : i + SIZE]) for i in range(0, 3 * SIZE, SIZE)]


def diagnosed(batches, **options):
    return rx.diagnose(apply, batches, params=PARAMS, loss="cross_entropy", **options)


def test_every_look_is_at_the_batches_until_then(monkeypatch):
    monkeypatch.setattr(_diagnose, "_LOOK_EVERY", 0)
    looks = []
    whole = diagnosed(iter(BATCHES), watch=looks.append)
    assert [look.examples for look in looks] == [SIZE, 2 * SIZE, 3 * SIZE]
    assert all(look.notes[0].startswith("partial: still measuring") for look in looks)
    assert not any(note.startswith("partial") for note in whole.notes)
    two = diagnosed(iter(BATCHES[:2]))
    assert (looks[1].loss, looks[1].accuracy) == (two.loss, two.accuracy)
    for look, want in zip(looks[1].summary, two.summary, strict=True):
        assert look.singular_values is None
        assert (look.dead, look.active_fraction, look.signal_norm) == (
            want.dead,
            want.active_fraction,
            want.signal_norm,
        )


def test_an_interrupted_run_gives_what_it_has_and_stays_interrupted():
    def batches():
        yield from BATCHES[:2]
        raise KeyboardInterrupt

    looks = []
    with pytest.raises(KeyboardInterrupt):
        diagnosed(batches(), watch=looks.append)
    [look] = looks
    assert look.examples == 2 * SIZE
    assert look.notes[0] == f"partial: interrupted, {2 * SIZE} examples until now; no singular values yet"
    assert "This report is partial" in look.to_html()


def test_interrupted_before_the_first_batch_there_is_nothing_to_give():
    def batches():
        raise KeyboardInterrupt
        yield

    looks = []
    with pytest.raises(KeyboardInterrupt):
        diagnosed(batches(), watch=looks.append)
    assert looks == []
