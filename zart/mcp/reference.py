"""The reference of the agents' tools in Markdown, made from the table of endpoints.

`python -m zart.mcp.reference docs/reference/mcp.md` writes it into the documentation, where a change of the tools shows as a
change of the page.
"""

import sys
from collections.abc import Iterator, Sequence

from zart.http.pages import typed
from zart.markdown import write_under
from zart.mcp.tools import TOOLS, AgentTool

HEADING = "## Tools\n\n"
"""What stands under it in the page is made; what stands above is written by hand."""


def reference() -> str:
    """Return the reference in Markdown: every tool with its arguments and the fields of its answer."""
    return "\n".join(line for tool in sorted(TOOLS.values(), key=lambda each: each.name) for line in _tool(tool)) + "\n"


def _tool(tool: AgentTool) -> Iterator[str]:
    access = "Changes something: hidden from readers." if tool.writes else "Only looks."
    yield from (f"### `{tool.name}`", "", f"{tool.tool.summary} {access}", "")
    takes = tool.takes()
    if takes["properties"]:
        yield from ("| argument | type | meaning |", "|---|---|---|")
        for name, schema in takes["properties"].items():
            needed = "required" if name in takes["required"] else ""
            said = "; ".join(filter(None, (schema.get("description", "").rstrip("."), needed)))
            yield f"| `{name}` | {typed(schema)} | {said} |"
        yield ""
    fields = ", ".join(f"`{name}`" for name in tool.gives()["properties"])
    yield from (f"Answers with {fields}; the same as `{tool.endpoint.method} {tool.endpoint.path}`.", "")


def main(arguments: Sequence[str]) -> None:
    """Write the reference into pages of the documentation, under its heading `Tools`."""
    write_under(HEADING, reference(), arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
