"""The version, where setuptools and every module can read it without importing the rest."""

__version__ = "0.1.0"
