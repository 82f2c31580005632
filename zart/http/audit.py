"""One line in the log for each change that a caller makes: who, what, from where, and what came of it."""

import logging

from zart.http.access import Caller
from zart.http.endpoints import Access, Endpoint

logger: logging.Logger = logging.getLogger("zart.http.audit")


def audit(endpoint: Endpoint, about: str, answer: object, caller: Caller, address: str | None) -> None:
    """Log a call, if it was one that changes something; `about` is the execution's id."""
    if endpoint.access is Access.OPERATOR:
        logger.info("%s %s: %s, by %s from %s", endpoint.name, ascii(about), answer, caller.name, address or "-")
