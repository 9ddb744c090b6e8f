"""The native engine: `PrefixTrie` and `Matcher`, thin over the plain core in the `.pxd` files beside it.

In the files included here Python objects become structs, every bound is checked once, and errors are raised. What an
address, a trie block or an account's block looks like is said in `address.pxd`, `trie.pxd` and `accounts.pxd`.
"""

include "arguments.pxi"
include "arrays.pxi"
include "prefix_trie.pxi"
include "plain_lists.pxi"
include "matcher.pxi"
include "forking.pxi"
include "header_lines.pxi"
include "native_interface.pxi"
