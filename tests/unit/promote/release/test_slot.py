"""Names in git: paths and branches of a slot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promote.contract import Slot, check_model
from promote.errors import InvalidName
from promote.release.slot import BranchName, parse_branch, release_path


def test_a_name_that_could_be_a_path_is_refused_in_a_sentence_that_says_what_a_name_is() -> None:
    with pytest.raises(InvalidName) as caught:
        check_model("../x")
    assert str(caught.value) == (
        "'../x' is no model's name. Use 1 to 40 lower-case letters, digits and dashes, "
        "a letter first, no dash last."
    )


def test_a_slot_with_such_a_name_does_not_exist() -> None:
    with pytest.raises(InvalidName):
        release_path(Slot("../x", "production"))


@given(
    st.sampled_from(["promotion", "rollback", "revert"]),
    st.integers(1, 10**6),
    st.none() | st.text("0123456789abcdef", min_size=12, max_size=12),
)
def test_a_branch_says_what_it_is_for(purpose: str, version: int, over: str | None) -> None:
    branch = BranchName(purpose, version, over)  # type: ignore[arg-type]  # one of the three
    slot = Slot("flight-delay", "production")
    assert parse_branch(branch.text(slot), slot) == branch


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "ratchet/flight-delay/production/mine",
        "ratchet/flight-delay/staging/v9-first",
        "ratchet/other/production/v9-first",
        "v9-first",
    ],
)
def test_another_branch_is_not_ours(name: str) -> None:
    assert parse_branch(name, Slot("flight-delay", "production")) is None
