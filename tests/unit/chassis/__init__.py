"""The chassis, module by module: no sockets, no database."""
