"""Several databases that are one: how their URLs are parted in what `connect` takes, and where each keeps its place."""

import re

BETWEEN = re.compile(r"(\s*,\s*|\s+)(?=[A-Za-z][A-Za-z0-9+.\-]*://)")
"""What parts two URLs: a comma or a space that another URL follows. Those inside of one stay: hosts, a file's name."""

MAP = "sharding"
"""The name under which each shard keeps the map."""
