"""The reference of the HTTP API in Markdown and its description in JSON, made from the table of endpoints.

`python -m zart.http.reference docs/reference/http.md docs/reference/openapi.json` writes both into the documentation, where a
change of the API shows as a change of theirs.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from zart.http.endpoints import ENDPOINTS, errors_of
from zart.http.openapi import description
from zart.http.pages import parameters, results
from zart.http.refusals import CODES
from zart.markdown import cells, write_under

HEADING = "## Endpoints\n\n"
"""What stands under it in the page is made; what stands above is written by hand."""


def published() -> str:
    """Return the description as it is kept: without its version, which changes with every release."""
    found = {**description(), "info": {key: value for key, value in description()["info"].items() if key != "version"}}
    return json.dumps(found, indent=1) + "\n"


def reference() -> str:
    """Return the reference in Markdown: every endpoint with its parameters and answers, then every error code."""
    return "\n".join([*_endpoints(), *_codes()]) + "\n"


def _endpoints() -> Iterator[str]:
    for endpoint in ENDPOINTS:
        yield from (f"### `{endpoint.method} {endpoint.path}`", "", f"{endpoint.summary} Access: {endpoint.access}.", "")
        rows = [*parameters(endpoint)]
        if rows:
            yield from ("| parameter | type | meaning |", "|---|---|---|", *(cells(*row) for row in rows), "")
        yield from ("| status | body | meaning |", "|---|---|---|", *(cells(*row) for row in results(endpoint)), "")
        codes = ", ".join(f"`{code}`" for code in errors_of(endpoint))
        yield from (f"Errors: {codes}.", "")


def _codes() -> Iterator[str]:
    yield from ("## Error codes", "", "| code | status | meaning |", "|---|---|---|")
    for code, (status, meaning) in sorted(CODES.items()):
        yield f"| `{code}` | {status} | {meaning} |"


def main(arguments: Sequence[str]) -> None:
    """Write the reference into pages of the documentation, under their heading `Endpoints`, and the description into a file."""
    pages = [name for name in arguments if not name.endswith(".json")]
    write_under(HEADING, reference(), pages)
    for name in {*arguments} - {*pages}:
        Path(name).write_text(published(), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
