"""The repository on GitHub: a port and its implementation."""
