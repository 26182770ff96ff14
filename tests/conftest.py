"""What every test relies on."""

import os

from hypothesis import HealthCheck, settings

# A busy machine must not fail a test: hypothesis' time limits are off, its other health checks stay.
settings.register_profile("ratchet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ratchet")

# Some tests load onnxruntime before our packages, which switch its telemetry off.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
