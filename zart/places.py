"""How the URLs of several databases are parted: what `connect` takes for shards."""

import re

BETWEEN = re.compile(r"(\s*,\s*|\s+)(?=[A-Za-z][A-Za-z0-9+.\-]*://)")
"""What parts two URLs: a comma or a space that another URL follows. Those inside of one stay: hosts, a file's name."""
