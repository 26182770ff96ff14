"""release.yaml, branches, pull requests, and what main named over time."""
