"""Lists as people have them: files of other programs, and networks in other notations.

`normalized` turns networks in any notation into a valid list. Behind it are `rows` (what a file has in every format),
`encodings`, `tables` (CSV), `plain_lists`, `json_files` and `published` (the ranges that clouds publish). They read
files; what a list may contain is in `cidrgate.rules`.
"""

from cidrgate.lists.normalizing import Kind, Normalized, Note, normalized

__all__ = ["Kind", "Normalized", "Note", "normalized"]
