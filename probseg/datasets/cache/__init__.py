"""The packed cache: how data sets are packed, where the cache lies, and how it is read."""
