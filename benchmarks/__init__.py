"""The benchmark: train, evaluate and picture every model on every data set, from one command.

``python -m benchmarks.run --help`` says how; ``benchmarks/suite/suite.toml`` says what.
"""
