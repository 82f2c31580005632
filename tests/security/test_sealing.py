"""AES-256-GCM: what is sealed opens where it stands, with its key, unchanged, and nowhere else."""

from base64 import b64decode, b64encode

import pytest

from zart.errors import SealedPayload
from zart.payloads import PayloadCodec, place_of
from zart.sealing import KEY, NONCE, Sealed, new_key

OLD, NEW = new_key(), new_key()
PLACE = place_of("step", "order-7", 1, 3, "charge", "step", "outcome", 1)


@pytest.mark.parametrize("text", ["", '{"a":1}', "nul \0", "🦊", "\ud800", "x" * 2**20])
def test_what_is_sealed_opens_as_it_was(text):
    codec: PayloadCodec = Sealed({"k1": OLD})
    sealed = codec.seal(text, PLACE)
    assert sealed.isascii()
    assert codec.open(sealed, PLACE) == text


def test_nothing_of_the_text_shows_and_no_two_are_alike():
    codec = Sealed({"k1": OLD})
    sealed = [codec.seal("attack at dawn", PLACE) for _ in range(1000)]
    assert len({b64decode(each.rpartition(":")[2])[:NONCE] for each in sealed}) == 1000
    assert not any("attack" in each or b"attack" in b64decode(each.rpartition(":")[2]) for each in sealed)


def test_in_another_place_it_does_not_open():
    codec = Sealed({"k1": OLD})
    sealed = codec.seal("1", PLACE)
    with pytest.raises(SealedPayload, match="does not open with its key 'k1': it was changed, stands where it was not written"):
        codec.open(sealed, place_of("step", "order-8", 1, 3, "charge", "step", "outcome", 1))


def test_places_of_different_parts_are_different_words():
    assert place_of("a", "b,c") != place_of("a,b", "c")
    assert place_of("a", '"b') != place_of('a"', "b")
    assert place_of("a", 1) != place_of("a", "1")


def test_no_bit_can_be_changed():
    codec = Sealed({"k1": OLD})
    head, _, code = codec.seal("1", PLACE).rpartition(":")
    raw = b64decode(code)
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealedPayload):
            codec.open(f"{head}:{b64encode(changed).decode()}", PLACE)


@pytest.mark.parametrize(
    "sealed", ["", ":", "1:k1", "1:k1:", "1:k1:not base64!", "1:k1:YQ==", "2:k1:YQ==", "nonsense", "1::YQ=="]
)
def test_what_was_never_sealed_does_not_open(sealed):
    with pytest.raises(SealedPayload):
        Sealed({"k1": OLD}).open(sealed, PLACE)


def test_the_first_key_writes_and_all_of_them_read():
    before = Sealed({"k1": OLD})
    both = Sealed({"k2": NEW, "k1": OLD})
    after = Sealed({"k2": NEW})
    assert both.open(before.seal("old", PLACE), PLACE) == "old"
    assert after.open(both.seal("new", PLACE), PLACE) == "new"
    with pytest.raises(SealedPayload, match=r"is sealed with key 'k1', which is not among the known \(k2\); add it to them"):
        after.open(before.seal("old", PLACE), PLACE)


def test_another_key_of_the_same_name_does_not_open_it():
    with pytest.raises(SealedPayload, match="or was sealed with another key of that name"):
        Sealed({"k1": NEW}).open(Sealed({"k1": OLD}).seal("1", PLACE), PLACE)


def test_the_name_of_the_key_is_sealed_too():
    sealed = Sealed({"k1": OLD}).seal("1", PLACE)
    with pytest.raises(SealedPayload):
        Sealed({"k2": OLD}).open(sealed.replace("k1", "k2"), PLACE)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "needs a key"),
        ({"": OLD}, "a key's name must have"),
        ({"a:b": OLD}, "a key's name must have"),
        ({"x" * 65: OLD}, "a key's name must have"),
        ({"k": "short"}, "key 'k' is no base64"),
        ({"k": b"short"}, "key 'k' has 5 bytes instead of 32"),
        ({"k": b64encode(b"x" * 16).decode()}, "key 'k' has 16 bytes instead of 32"),
    ],
)
def test_keys_that_cannot_be_are_refused(keys, said):
    with pytest.raises(ValueError, match=said):
        Sealed(keys)


def test_new_keys_are_long_enough_and_new():
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert {len(b64decode(each)) for each in made} == {KEY}


def test_nobody_is_shown_a_key():
    assert repr(Sealed({"k2": NEW, "k1": OLD})) == "Sealed(k2, k1)"


def test_the_environment_names_the_keys(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"k2 = {NEW}\n\nk1={OLD}\n")
    for environment in ({"ZART_PAYLOAD_KEYS": f"k2={NEW}, k1={OLD}"}, {"ZART_PAYLOAD_KEYS_FILE": str(file)}):
        codec = Sealed.from_environment(environment)
        assert (repr(codec), codec.allow_plain) == ("Sealed(k2, k1)", False)
        assert Sealed.from_environment({**environment, "ZART_PAYLOAD_ALLOW_PLAIN": "1"}).allow_plain
    assert Sealed.from_environment({}) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ZART_PAYLOAD_KEYS": "a=b", "ZART_PAYLOAD_KEYS_FILE": "x"}, "are both set"),
        ({"ZART_PAYLOAD_KEYS": f"a={OLD}", "ZART_PAYLOAD_ALLOW_PLAIN": "yes"}, "must be 1 or 0"),
        ({"ZART_PAYLOAD_KEYS": OLD}, "is not name=base64"),
        ({"ZART_PAYLOAD_KEYS": f"a={OLD},a={NEW}"}, "gives key 'a' twice"),
        ({"ZART_PAYLOAD_KEYS": f"a={OLD[:-4]}"}, "instead of 32|no base64"),
        ({"ZART_PAYLOAD_KEYS_FILE": "/nowhere/at/all"}, "cannot be read: FileNotFoundError"),
        ({"ZART_PAYLOAD_ALLOW_PLAIN": "1"}, "there is no key in ZART_PAYLOAD_KEYS"),
    ],
)
def test_an_environment_that_is_wrong_is_told_without_the_key(environment, said):
    with pytest.raises(ValueError, match=said) as told:
        Sealed.from_environment(environment)
    assert OLD[:-4] not in str(told.value)
    assert NEW[:-4] not in str(told.value)
