"""What is worth having from a few minutes on a GPU; see :mod:`benchmarks.gpu.__main__`."""
