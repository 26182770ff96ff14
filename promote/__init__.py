"""Promote: a supported challenger becomes a pull request, and its rollout is followed."""


def main() -> None:
    """Run the command `promote`, or say how to install its libraries."""
    try:
        from promote.cli import app  # noqa: PLC0415 - `import promote` must need no library

        app()
    except ModuleNotFoundError as missing:
        advice = 'pip install "ratchet[promote]"'
        raise SystemExit(
            f"{missing.name} is not installed. Install all libraries: {advice}"
        ) from None
