"""The suite: rows, data sets and hyper-parameters from TOML files, checked when they are read."""
