"""Reports of finished experiments: tables, figures, statistics and HTML pages."""
