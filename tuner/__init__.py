"""The search for the best point of a kernel: model, search, measuring, log, replay."""
