"""ConfigService over real gRPC and a real PostgreSQL."""
