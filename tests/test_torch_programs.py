"""Every value, gradient, edge, line and scope of a recorded PyTorch program is right, and recording changes nothing.

``python -m tests.test_torch_programs`` prints the table of programs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import gradviz
from tests.torch_programs import PROGRAMS
from tests.torch_truth import AfterTheFact, Verdict, after_the_fact, compared, left_behind, truth, verdict

AFTER = ("after the fact: gradients", "values known", "values wrong")
KINDS = ("values", "grads", "edges", "lines", "scopes")
# what a recording does not know: the line of an op in another thread, and the scope of one in a user's forward hook
EXCUSED = {
    "other_thread": {"lines": 1},
    "users_hooks": {"scopes": 1},
}
NOT_WALKED = ("loss_of_many_numbers", "several_roots", "resnet50")  # another seed, another root; too large
# what a walk cannot know: the gradients of a block that would be run again, of a second backward pass,
# and behind hooks of the user that hear of one pass more
NOT_AFTER_THE_FACT = {
    "checkpoint_not_reentrant": 5, "checkpoint_reentrant": 1, "checkpoint_of_a_sequence": 3, "backward_twice": 10,
    "users_hooks": 1,
}  # fmt: skip


@pytest.fixture(scope="module", params=list(PROGRAMS))
def found(request: pytest.FixtureRequest) -> Verdict:
    return named(request.param)


def named(name: str) -> Verdict:
    """Watch one program."""
    return verdict(PROGRAMS[name], gradviz.capture)


def excused(found: Verdict, kind: str) -> int:
    """Return how many of a kind nobody can know in this program."""
    return EXCUSED.get(found.name, {}).get(kind, 0)


def test_the_truth_itself_changes_nothing(found: Verdict) -> None:
    assert differences(found.unwatched, found.under_truth) == []
    assert all(step.records for step in found.steps)


def test_watching_changes_nothing(found: Verdict) -> None:
    assert differences(found.unwatched, found.watched) == []
    assert found.hooks_left == []


def differences(a: dict[str, object], b: dict[str, object]) -> list[str]:
    """Return the names of what is not equal to the bit."""
    return [key for key in a.keys() | b.keys() if a.get(key, 0) != b.get(key, 0)]


def test_every_step_is_a_frame_and_lacks_nothing(found: Verdict) -> None:
    assert len(found.frames) == len(found.steps)
    assert found.comparison.missing[excused(found, "missing") :] == []


@pytest.mark.parametrize("kind", KINDS)
def test_all_are_right(found: Verdict, kind: str) -> None:
    wrong = found.comparison.wrong.get(kind, [])
    assert wrong[excused(found, kind) :] == []
    _, count = getattr(found.comparison, kind)
    assert count > 0 or kind == "edges"


@pytest.fixture(scope="module", params=[name for name in PROGRAMS if name not in NOT_WALKED])
def walked(request: pytest.FixtureRequest) -> tuple[str, AfterTheFact]:
    return request.param, after_the_fact(PROGRAMS[request.param], gradviz.frame)


def test_after_the_fact_every_gradient_is_there_and_no_value_is_wrong(walked: tuple[str, AfterTheFact]) -> None:
    name, found = walked
    assert found.wrong == []
    assert found.missing[NOT_AFTER_THE_FACT.get(name, 0) :] == []


def test_a_look_after_the_fact_changes_nothing(walked: tuple[str, AfterTheFact]) -> None:
    name, found = walked
    assert found.changed == (["calls"] if name == "users_hooks" else [])


@pytest.mark.parametrize("name", ["mlp", "resnet_tiny", "several_results", "not_numbers", "autocast"])
def test_summaries_are_those_of_the_truth(name: str) -> None:
    """Measure instead of copying: the numbers are those of what is copied, and nothing is changed either."""
    full, case = named(name), PROGRAMS[name]()
    with gradviz.capture(case.model, level="stats") as cap:
        assert differences(full.unwatched, left_behind(case)) == []
    frame = full.frames[0]
    assert cap.graph().fingerprint() == frame.graph.fingerprint()
    for rows, numbers in zip(cap.moment().stats(), (frame.values, frame.grads), strict=True):
        for row, x in zip(rows, numbers, strict=True):
            if x is not None and np.size(x):
                np.testing.assert_allclose(row, summary(np.asarray(x, np.float64)), rtol=1e-4, atol=1e-6)


def summary(x: np.ndarray) -> list[float]:
    """Return the seven numbers."""
    good = x[np.isfinite(x)]
    least, most, mean = (good.min(), good.max(), good.mean()) if good.size else (np.nan,) * 3
    return [least, most, mean, np.sqrt((x * x).sum()), (x == 0).sum(), np.isnan(x).sum(), np.isinf(x).sum()]


def test_a_wrong_frame_is_found_out() -> None:
    """Compare a program with the truth of another one: the comparison is able to see differences."""
    mine, other = named("mlp"), truth(PROGRAMS["training_loop"]())[0][-1]
    found = compared(mine.frames[0], other)
    assert found.values[0] < found.values[1]
    assert found.grads[0] < found.grads[1]
    assert found.edges[0] < found.edges[1]
    assert found.wrong["values"][0]


HEADER = ("program", "nodes", "values", "gradients", "edges", "lines", "scopes", "unchanged", *AFTER)


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the table: a program, how much of it is right when it is recorded, and what is known after the fact."""
    for name in PROGRAMS:
        found = named(name)
        counts = [ratio(getattr(found.comparison, kind)) for kind in KINDS]
        is_unchanged = not differences(found.unwatched, found.watched) and not found.hooks_left
        nodes = sum(len(frame.graph) for frame in found.frames)
        walked = None if name in NOT_WALKED else after_the_fact(PROGRAMS[name], gradviz.frame)
        after = [ratio(walked.grads), ratio(walked.values), str(len(walked.wrong))] if walked else ["", "", ""]
        yield (name.replace("_", " "), f"{nodes:,}", *counts, "yes" if is_unchanged else "no", *after)


def ratio(counted: Sequence[int]) -> str:
    """Return how many of how many."""
    return f"{counted[0]:,} of {counted[1]:,}" if counted[0] != counted[1] else f"{counted[0]:,}"


def main() -> None:
    """Print the table as Markdown."""
    print("| " + " | ".join(HEADER) + " |")
    print("| --- |" + " ---: |" * (len(HEADER) - 1))
    for row in rows():
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
