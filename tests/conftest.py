"""What every test relies on."""

from hypothesis import HealthCheck, settings

# A busy machine must not fail a test: hypothesis' time limits are off, its other health checks stay.
settings.register_profile("ratchet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ratchet")
