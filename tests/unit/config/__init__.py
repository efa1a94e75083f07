"""ConfigService, module by module: no sockets, no database."""
