"""The services' images: a base with Python and nothing to install with, wheels fetched outside, one Dockerfile a service."""
