"""Retrain: rows of a sliding window become a registered challenger."""
