"""Whether the code around has said something in a transaction of MySQL that is still open."""

from contextvars import ContextVar

from zart.schedulers.mysql.address import Address
from zart.schedulers.sql.inside import Said

SAID: ContextVar[Said | None] = ContextVar("zart_mysql_said", default=None)
"""Where the code around has said something last: the address of a scheduler."""


def is_inside(address: Address) -> bool:
    """Whether the code around may hold locks in this database."""
    said = SAID.get()
    return said is not None and said.where is address and said.is_open()
