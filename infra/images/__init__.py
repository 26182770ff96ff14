"""The services' images: one base with Python, wheels fetched outside, a Dockerfile for each."""
