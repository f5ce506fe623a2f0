"""The report of a run: tables, figures, statistics and verdicts, made from results alone."""
