"""The `messagepipe` command: the roof of the house, the only package that sees all others."""

import os

# `up` asks its services for their health over gRPC and starts processes. gRPC's core has handlers that run in every
# fork and start its threads again in the child, which dies of that now and then, before it becomes the program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
