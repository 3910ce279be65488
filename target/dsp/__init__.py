"""The simulated vector DSP."""
