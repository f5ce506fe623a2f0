"""The packed cache: sources of samples, packing them, and reading the packed folder."""
