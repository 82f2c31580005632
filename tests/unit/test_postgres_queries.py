"""How PostgreSQL's statements are named, and how columns are told to them."""

import pytest

from zart.schedulers.postgres.queries import Names, Payloads, Unstorable, booleans, numbers, some_texts, texts

WRITING = ("start", "beat", "claim", "commit", "deliver", "cancel")
OPERATIONS = (*WRITING, "wait", "checkup", "schema", "shard", "repeat", "transact")


def told(*columns):
    payloads = Payloads()
    for column in columns:
        payloads.add(list(column))
    return payloads.told(), payloads.in_hex


def test_every_operation_has_statements():
    assert {name.partition(".")[0] for name in Names().queries()} == set(OPERATIONS)


def test_every_table_is_named_by_schema_and_prefix():
    queries = Names("sales", "z_").queries()
    assert all("zart_" not in sql for sql in queries.values())
    assert 'FROM "sales"."z_executions" WHERE key = ANY' in queries["commit.states"]
    assert """nextval('"sales"."z_keys"')""" in queries["start.insert"]


def test_without_a_schema_the_search_path_decides():
    assert 'FROM "zart_executions" WHERE' in Names().queries()["commit.states"]


def test_an_index_has_no_schema_of_its_own():
    sql = "CREATE INDEX zart_x ON zart_y (a); CREATE UNIQUE INDEX zart_u ON zart_y (b);"
    expected = 'CREATE INDEX "p_x" ON "s"."p_y" (a); CREATE UNIQUE INDEX "p_u" ON "s"."p_y" (b);'
    assert Names("s", "p_").apply(sql) == expected


def test_each_set_of_tables_has_a_channel_of_its_own():
    names = [Names(), Names("a"), Names("b"), Names(None, "a"), Names("a", "b_")]
    assert len({each.channel for each in names}) == len(names)
    assert all(len(each.channel) < 40 for each in names)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ([1, -2, 10**18], f"{{1, -2, {10**18}}}"),
        ([None, 0, 3], "{NULL, 0, 3}"),
        ([0, 0], "{0, 0}"),
        ([None, None], None),
        ([0, None], "{0, NULL}"),
    ],
)
def test_numbers(column, text):
    assert numbers(column) == text


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ([None, None], None),
        (["a", "b"], "a\x1fb\x1f"),
        ([None, "b", None], "\x1e\x1fb\x1f\x1e\x1f"),
        (["", None], "\x1f\x1e\x1f"),
    ],
)
def test_texts_of_which_some_are_missing(column, text):
    assert some_texts(column) == text


@pytest.mark.parametrize("bad", ["\x1e", "a\x1fb", "\x00"])
def test_a_text_that_would_not_come_back_as_it_was_is_refused(bad):
    with pytest.raises(Unstorable, match="has a control character"):
        some_texts(["a", None, bad])


def test_truth_values():
    assert booleans([True, False]) == "{t,f}"


def test_texts_end_with_an_empty_part_so_that_one_empty_text_is_not_none():
    assert texts(["a", "", "b"]) == "a\x1f\x1fb\x1f"
    assert texts([""]) == "\x1f"
    assert texts([]) == ""


@pytest.mark.parametrize("odd", ["a\x1fb", "\x1e"])
def test_a_text_that_would_be_taken_for_two_is_refused(odd):
    with pytest.raises(ValueError, match="has a control character"):
        texts(["fine", odd])


def test_payloads_go_as_they_are():
    assert told(["a", "é"], ["b", None], [None, None], []) == (["a\x1fé\x1f", "b\x1f\x1e\x1f", None, None], False)


@pytest.mark.parametrize("odd", ["nul \x00", "part \x1f", "\x1e", "x\x1e"])
def test_payloads_that_cannot_go_as_they_are_go_in_hexadecimal_and_all_the_others_with_them(odd):
    columns, in_hex = told(["plain"], [odd, None])
    assert in_hex
    assert columns == [b"plain".hex() + "\x1f", odd.encode().hex() + "\x1f\x1e\x1f"]


def test_a_payload_that_has_no_bytes_is_no_payload():
    with pytest.raises(UnicodeEncodeError):
        told(["half \ud800", "nul \x00"])
