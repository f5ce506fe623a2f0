"""The data sets as they lie on this disk: listed, checked, looked at, packed.

``python -m benchmarks.data --help`` says how; ``catalogue.toml`` says what they should be.
"""
