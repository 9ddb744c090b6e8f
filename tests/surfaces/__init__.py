"""The public surfaces, written down: a module describes each, and the file beside it has what was agreed last.

`make surfaces` writes the files. Prose (docstrings, help, descriptions) is left out, because it may change at any time;
docs/compatibility.md says what is promised instead.
"""
