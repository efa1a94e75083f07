"""SMS adapters, one file per kind. Not a registry: `services.adapters.registry` lists them."""
