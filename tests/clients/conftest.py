"""The programs here use clients that are generated first: pytest does not import them."""

collect_ignore = ["python_attrs.py", "python_pydantic.py"]
