"""Builds the extension: `python setup.py build_ext --inplace`."""

from setuptools import Extension, setup

from cidrgate import get_include

setup(
    name="gatekeeper",
    ext_modules=[Extension("gatekeeper", ["gatekeeper.c"], include_dirs=[get_include()])],
)
