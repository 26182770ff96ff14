"""One module a command, with ordinary imports. `promote/cli.py` loads a module when it runs."""
