"""What the services run on: images, locks, AWS templates and the laptop's stand-ins."""
