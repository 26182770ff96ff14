"""What the gateway answers: predictions, health and measures, and the page /docs."""
