"""One whole turn of the loop on this machine, and several weeks after it: `python -m infra.local.demo`."""
