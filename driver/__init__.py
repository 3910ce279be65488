"""The public face: tune, compile, replay, load, the command line and the model zoo."""
