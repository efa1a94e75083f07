"""Writes down when API keys were used with this process itself. What dispatchers tell comes in as RecordApiKeyUses."""

from typing import Never
from uuid import UUID

from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.config.errors import DatabaseUnavailable
from services.config.project_editor import ProjectEditor

PAUSE_SECONDS = 5.0

_log = get_logger()


async def keep_recording(editor: ProjectEditor, roll: ApiKeyRoll, clock: Clock) -> Never:
    """Until cancelled: each key's use is durable within a minute, again if it could not be written."""
    while True:
        await clock.sleep(PAUSE_SECONDS)
        due = roll.uses.due(clock.now())
        try:
            await editor.record_uses({UUID(key): at for key, at in due.items()}, None)
        except DatabaseUnavailable:
            _log.warning("api_key_uses_not_recorded")
        else:
            roll.uses.wrote(due)
