"""The chassis against real gRPC servers and a real PostgreSQL."""
