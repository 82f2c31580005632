"""A run's mailbox, as far as its worker knows it: nothing arrives twice, nothing is taken twice, the oldest comes first."""

import pytest

from zart.records import Mail
from zart.replay import Mailbox


def letter(seq: int, name: str = "paid") -> Mail:
    return Mail(seq, name, f'"{seq}"', 0)


def test_a_letter_that_is_known_is_nothing_new_and_there_once() -> None:
    mailbox = Mailbox((letter(1),), 1)
    assert mailbox.add((letter(1),)) is False
    assert mailbox.add(()) is False
    assert mailbox.add((letter(1), letter(2))) is True
    first = mailbox.oldest("paid")
    assert first == letter(1)
    mailbox.take(1)
    assert mailbox.oldest("paid") == letter(2)
    mailbox.take(2)
    assert mailbox.oldest("paid") is None
    assert mailbox._by_name == {"paid": [letter(1), letter(2)]}


@pytest.mark.parametrize(("letters", "seen"), [((), 3), ((1, 2), 3), ((3,), 3), ((4, 5), 5), ((5, 4), 5)])
def test_what_is_seen_never_goes_back(letters: tuple[int, ...], seen: int) -> None:
    mailbox = Mailbox((), 3)
    mailbox.add([letter(seq) for seq in letters])
    assert mailbox.seen == seen


def test_names_are_kept_apart() -> None:
    mailbox = Mailbox((letter(1, "a"), letter(2, "b")), 2)
    assert mailbox.oldest("b") == mailbox.letter(2) == letter(2, "b")
    assert mailbox.oldest("c") is None
    mailbox.take(1)
    assert mailbox.oldest("a") is None
    assert mailbox.oldest("b") == letter(2, "b")


def test_a_letter_that_is_given_back_is_there_again_in_its_place() -> None:
    mailbox = Mailbox((letter(1), letter(2)), 2)
    mailbox.take(1)
    mailbox.give_back(1)
    mailbox.give_back(2)  # nobody has taken it: no harm
    assert mailbox.oldest("paid") == letter(1)


def test_a_letter_that_is_set_aside_is_nobodys_and_says_why() -> None:
    mailbox = Mailbox((letter(1), letter(2)), 2)
    assert mailbox.reason is None
    mailbox.set_aside(letter(1), "it is no number")
    assert mailbox.oldest("paid") == letter(2)
    assert mailbox.reason == "it is no number"
