"""The native engine: `PrefixTrie` and `Matcher`, thin classes over the plain core in the `.pxd` files beside it.

The files included here convert Python objects to structs, check every bound once, and raise errors. `address.pxd`,
`trie.pxd` and `accounts.pxd` define the layout of an address, a trie block and an account's block.

A `.pxd` file contains plain code: C structs and functions without Python objects. Other files `cimport` them by name,
and each file names all its imports. A `.pxi` file contains the parts of this module that use Python objects. Cython
compiles a module from one file, so the `.pxi` files are included below; each uses only the files included before it.

Read in this order:

1. `address.pxd`: addresses and prefixes, their parser and formatter (`quad.h` and `groups.h` use vector instructions)
2. `trie.pxd`, then `build.pxd`: the trie block, its search and its construction
3. `walk.pxd`, `batch.pxd`, `direct.pxd`, `bitmap.pxd`, `edges.pxd`, `ranks.h`, `edges.h`: many addresses at once
4. `arena.pxd`, `readers.pxd`: memory for many blocks, and when it may be reused
5. `accounts.pxd`: the index on account names; `traffic.h`: notes of checks
6. `snapshot.pxd`, `verify.pxd`: a matcher as a file, and the checks before a file is used
7. the classes: `arguments.pxi`, `arrow.pxi`, `pandas_columns.pxi`, `arrays.pxi`, `prefix_trie.pxi`,
   `account_arrays.pxi`, `matcher.pxi`; then `plain_lists.pxi`, `forking.pxi`, `header_lines.pxi` and
   `native_interface.pxi`, which do not depend on each other
8. `cover.pxd`, then `covers.pxi`: the smallest cover, for recommendations
9. `pages.pxi`: the texts of Parquet files, for replays
10. `log_lines.pxd` (with `scan.h`), then `log_lines.pxi`: lines of text logs, for replays
"""

include "arguments.pxi"
include "arrow.pxi"
include "pandas_columns.pxi"
include "arrays.pxi"
include "prefix_trie.pxi"
include "plain_lists.pxi"
include "covers.pxi"
include "account_arrays.pxi"
include "pages.pxi"
include "matcher.pxi"
include "forking.pxi"
include "header_lines.pxi"
include "log_lines.pxi"
include "native_interface.pxi"

from cpython.object cimport PyTypeObject

# The types are `cidrgate.PrefixTrie` and `cidrgate.Matcher`: that is their name in messages and pickles, wherever the
# engine is.
(<PyTypeObject *>PrefixTrie).tp_name = "cidrgate.PrefixTrie"
(<PyTypeObject *>Matcher).tp_name = "cidrgate.Matcher"
