"""SQLAlchemy's way to PostgreSQL, over connections of our own. Apart, because who does not use it should not pay 14 MB
of memory for it.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import ExceptionContext, event

from services.chassis.database import Dsn, connect, parse_dsn

if TYPE_CHECKING:  # it would load the ORM: see _asynchronous
    from sqlalchemy.ext.asyncio import AsyncEngine

_PACKAGE = "sqlalchemy.ext.asyncio"


def create_engine(dsn: Dsn, *, size: int = 5, **options: Any) -> "AsyncEngine":
    """An engine that connects at first use; `size` is how many connections it keeps."""
    address = parse_dsn(dsn)
    pooling = {} if "poolclass" in options else {"pool_size": size, "pool_pre_ping": True}
    # SQLAlchemy's own URLs cannot say all that libpq's can: hand the whole DSN to the driver.
    engine: AsyncEngine = _asynchronous().create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(address.secret), **pooling, **options
    )
    event.listen(engine.sync_engine, "handle_error", _leave_the_demoted)
    return engine


def _asynchronous() -> Any:
    """SQLAlchemy's module of asynchronous engines, without the sessions that its package loads beside it, and with them
    the ORM: 6 MB. Whoever imports that package later gets all of it.
    """
    if _PACKAGE in sys.modules or (spec := find_spec(_PACKAGE)) is None:
        return import_module(f"{_PACKAGE}.engine")
    sys.modules[_PACKAGE] = module_from_spec(spec)  # made and not run
    try:
        return import_module(f"{_PACKAGE}.engine")
    finally:
        del sys.modules[_PACKAGE]


def _leave_the_demoted(context: ExceptionContext) -> None:
    """A server that has become read-only is as good as gone: its connections are made anew, to whoever takes writes."""
    if getattr(context.original_exception, "sqlstate", None) == asyncpg.ReadOnlySQLTransactionError.sqlstate:
        context.is_disconnect = True
