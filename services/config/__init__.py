"""ConfigService: provider schemas, configured providers, sealed credentials, priorities. It never sends a message."""
