"""The shared vocabulary: formats, reports and users' files lean on these words and their order."""

from swapbench.base.phases import ALL_LEDGERS, FIRST_TOKEN, LEDGER_LABELS, MEANING, PHASES


def test_the_eight_phases_come_in_the_order_in_which_they_are_carried_out() -> None:
    assert [str(phase) for phase in PHASES] == [
        "drain",
        "evict",
        "shutdown",
        "unload",
        "load",
        "reconfigure",
        "update_tag",
        "reinit",
    ]


def test_the_first_token_is_not_one_of_them() -> None:
    assert FIRST_TOKEN not in PHASES


def test_every_phase_says_what_it_means() -> None:
    assert list(MEANING) == list(PHASES)
    assert all(MEANING.values())


def test_every_ledger_has_a_label() -> None:
    assert tuple(LEDGER_LABELS) == ALL_LEDGERS
