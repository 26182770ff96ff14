"""Checks .github/workflows with actionlint, which Go builds at the version in go.mod."""
