"""The model zoo, in plain torch.nn with fixed seeds."""
