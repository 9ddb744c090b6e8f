"""Columns of data frames and databases: the answers for all rows at once, without a Python object for a row.

`Matcher.allows_arrow` answers for tables of Arrow. The modules here answer for other libraries in their own terms:
`polars` as an expression, `duckdb` as a function of SQL, and `pandas` as a column. Each needs its library, and has its
rule: what cannot be known is denied, which is a row without an account or with an address that is none.
"""
