"""The native engine: `PrefixTrie` and `Matcher`, thin over the plain core in the `.pxd` files beside it.

In the files included here Python objects become structs, every bound is checked once, and errors are raised. What an
address, a trie block or an account's block looks like is said in `address.pxd`, `trie.pxd` and `accounts.pxd`.

A `.pxd` file holds plain code: C structs and functions without Python objects, which other files `cimport` by name, and
which say all that they need. A `.pxi` file holds the parts of this one module that meet Python objects: Cython compiles
a module from one file, so they are included below, in an order in which each uses only what stands above it.

Read in this order:

1. `address.pxd`: addresses and prefixes, their parser and formatter (`quad.h` and `groups.h` with vectors)
2. `trie.pxd`, then `build.pxd`: the trie block, how it is searched and how it is made
3. `walk.pxd`, `batch.pxd`, `direct.pxd`, `ranks.h`: many addresses at once
4. `arena.pxd`, `readers.pxd`: memory for many blocks, and when it may be reused
5. `accounts.pxd`: the index on account names
6. `snapshot.pxd`, `verify.pxd`: a matcher as a file, and the proofs before one is used
7. the classes: `arguments.pxi`, `arrays.pxi`, `prefix_trie.pxi`, `matcher.pxi`; then `plain_lists.pxi`, `forking.pxi`,
   `header_lines.pxi` and `native_interface.pxi`, which stand alone
"""

include "arguments.pxi"
include "arrays.pxi"
include "prefix_trie.pxi"
include "plain_lists.pxi"
include "matcher.pxi"
include "forking.pxi"
include "header_lines.pxi"
include "native_interface.pxi"
