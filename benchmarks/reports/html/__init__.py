"""The HTML pages: the report of a run, and two runs side by side, each in one file."""
