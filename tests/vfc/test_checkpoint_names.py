"""Which step a file of a checkpoint is of."""

from pathlib import Path

import pytest

from vfc.checkpoints import numbered_by
from vfc.errors import UserError


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (("a-epoch1-acc0.91", "a-epoch2-acc0.95", "a-epoch3-acc0.93"), [1, 2, 3]),
        (("Epochs_2 acc9", "Epochs_10 acc3", "Epochs_1 acc5"), [2, 10, 1]),
        (("3-ITERATION-7", "2-ITERATION-8", "1-ITERATION-9"), [7, 8, 9]),
        (("iter20-b", "iter3-b", "iters100"), [20, 3, 100]),
        (("epoch=0-step=99", "epoch=0-step=199", "epoch=1-step=299"), [99, 199, 299]),
        (("epoch1-step5", "epoch2-step5", "epoch3-step5"), [1, 2, 3]),
        (("10-v2", "9-v2", "11-v2"), [10, 9, 11]),
    ],
)
def test_the_step_is_told_by_its_word_or_by_the_only_number_that_varies(names, steps):
    files = [Path(f"{name}.pt") for name in names]
    assert numbered_by(files) == dict(zip(steps, files, strict=True))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a-1-acc91", "a-2-acc95", "a-3-acc93"), "expected one varying number"),
        (("a-1", "a-2", "a-3-b4"), "expected one varying number"),
        (("acc0.91", "acc0.95", "acc0.93"), "whole number"),
        (("epoch1-step5", "epoch1-step10", "epoch2-step7"), "steps begin anew"),
        (("step100", "step200", "final2"), "final2"),
        (("step5-a1", "step5-a2", "step5-a3"), "different steps"),
    ],
)
def test_names_that_tell_no_order_are_refused(names, words):
    with pytest.raises(UserError, match=words) as caught:
        numbered_by([Path(f"{name}.pt") for name in names])
    assert "rename" in str(caught.value.fix)
