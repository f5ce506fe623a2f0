"""The data sets as they lie on this disk: checked, looked at, packed."""
