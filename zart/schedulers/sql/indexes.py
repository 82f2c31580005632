"""The indexes that the migrations leave behind, each with the statement that makes it again."""

import re
from collections.abc import Mapping
from functools import cache

from zart.schedulers.sql.migrate import migrations

_COMMENT = re.compile(r"--[^\n]*")
_INDEX = re.compile(r"(?P<made>CREATE (?:UNIQUE )?INDEX (?P<name>zart_\w+)\s[^;]+);|DROP INDEX (?P<dropped>zart_\w+)\s*;")
_TABLE = re.compile(r"CREATE TABLE (?P<name>zart_\w+) \((?P<body>[^;]+);")
_KEY = re.compile(r"^    PRIMARY KEY (?P<columns>\([^)]*\))", re.MULTILINE)


@cache
def indexes(dialect: str) -> Mapping[str, str]:
    """Return the names of all indexes of a dialect's tables, as the migrations write them, and how each is made."""
    found: dict[str, str] = {}
    for migration in migrations(dialect):
        for each in _INDEX.finditer(_COMMENT.sub("", migration.sql)):
            if each["dropped"]:
                del found[each["dropped"]]
            else:
                found[each["name"]] = " ".join(each["made"].split())
    return found


@cache
def primary_keys(dialect: str) -> Mapping[str, str]:
    """Return the tables of a dialect that have a primary key of their own clause, and how each key is made."""
    found: dict[str, str] = {}
    for migration in migrations(dialect):
        for table in _TABLE.finditer(_COMMENT.sub("", migration.sql)):
            if key := _KEY.search(table["body"]):
                found[table["name"]] = f"ALTER TABLE {table['name']} ADD PRIMARY KEY {key['columns']}"
    return found
