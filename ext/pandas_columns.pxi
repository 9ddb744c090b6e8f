"""Columns of pandas: strings and categories as Arrow arrays, all others object by object. Part of `_engine.pyx`.

A column of Python objects has no type. pyarrow would infer one for all of them, and would change some of them for it:
text beside bytes becomes its UTF-8, which looks like a packed address. So each object is read as if it were alone.
"""

import sys
from importlib import import_module


cdef bint is_pandas_column(object source) except -1:
    """Return whether an argument is a column of pandas, which is then imported."""
    return isinstance(source, getattr(sys.modules.get("pandas"), "Series", ()))


cdef object pandas_values(object column):
    """Return a column of pandas as an Arrow array, or as a new list of its objects with None for what is missing."""
    cdef object value
    cdef list objects
    try:
        if has_one_type(column.dtype):
            return import_module("pyarrow").Array.from_pandas(column)
    except (ImportError, UnicodeEncodeError):
        # Without pyarrow, or with a lone surrogate, which cannot be in an Arrow string, it is read object by object.
        pass
    # A copy: the column may have the list itself, and another thread may change it.
    objects = list(column.tolist())
    for value in objects:
        if type(value) is not str:
            return [None if is_missing else element for element, is_missing in zip(objects, column.isna().tolist())]
    return objects


cdef bint has_one_type(object dtype) except -1:
    """Return whether a type of pandas is one type of Arrow for all elements: strings, or categories of them."""
    cdef object pandas = sys.modules["pandas"], value
    if not isinstance(dtype, pandas.CategoricalDtype):
        return isinstance(dtype, (pandas.StringDtype, pandas.ArrowDtype))
    if dtype.categories is None:
        return False
    if dtype.categories.dtype != object:
        return has_one_type(dtype.categories.dtype)
    for value in dtype.categories.tolist():
        if type(value) is not str:
            return False
    return True
