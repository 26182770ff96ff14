"""What a window's run leaves in MLflow."""
