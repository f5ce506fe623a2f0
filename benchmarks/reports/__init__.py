"""Reports of finished runs: tables, figures, statistics and HTML pages."""
