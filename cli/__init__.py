"""The `messagepipe` command: the roof of the house, the only package that sees all others."""
