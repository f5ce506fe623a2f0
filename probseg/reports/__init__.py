"""Reports: tables for a terminal, Markdown, LaTeX and CSV, and pages of HTML."""
