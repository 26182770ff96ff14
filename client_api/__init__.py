"""The gateway that phones call: validates rows, coalesces them into blocks, hides rollouts."""
