"""What every test relies on."""

import os
import signal

from hypothesis import HealthCheck, settings

# A busy machine must not fail a test, so hypothesis has no time limits.
settings.register_profile("ratchet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ratchet")

# Some tests load onnxruntime before our packages, which switch its telemetry off.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A shell's background job and nohup ignore these, and every child inherits that: a demo that a test
# interrupts would not end. A handler that does nothing protects pytest as well, and children start
# with the usual meaning.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)
