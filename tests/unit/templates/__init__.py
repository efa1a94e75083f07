"""The template language, without sockets and database."""
