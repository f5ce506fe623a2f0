"""What results say: paired tests, correlations, the paper's tables, and verdicts on its claims.

Everything here works on results as ``benchmarks.jobs.results`` reads them; nothing trains or draws.
"""
