"""SQLAlchemy's way to PostgreSQL, over connections of our own. Apart, because who does not use it should not pay 20 MB
of memory for it.
"""

from typing import Any

import asyncpg
from sqlalchemy import ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.chassis.database import Dsn, connect, parse_dsn


def create_engine(dsn: Dsn, *, size: int = 5, **options: Any) -> AsyncEngine:
    """An engine that connects at first use; `size` is how many connections it keeps."""
    address = parse_dsn(dsn)
    pooling = {} if "poolclass" in options else {"pool_size": size, "pool_pre_ping": True}
    # SQLAlchemy's own URLs cannot say all that libpq's can: hand the whole DSN to the driver.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(address.secret), **pooling, **options
    )
    event.listen(engine.sync_engine, "handle_error", _leave_the_demoted)
    return engine


def _leave_the_demoted(context: ExceptionContext) -> None:
    """A server that has become read-only is as good as gone: its connections are made anew, to whoever takes writes."""
    if getattr(context.original_exception, "sqlstate", None) == asyncpg.ReadOnlySQLTransactionError.sqlstate:
        context.is_disconnect = True
