"""Options as data: records of rows, registries of names, and the checks of values."""
