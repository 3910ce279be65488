"""One template a kind of kernel: the schedules among which the tuner searches."""
