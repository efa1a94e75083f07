"""The tests of messagepipe; tests/conftest.py says what every test may ask for."""

import os

# Tests speak gRPC and start processes; see cli/__init__.py.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
