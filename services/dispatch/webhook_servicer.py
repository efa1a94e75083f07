"""WebhookService as gRPC sees it: each method reads its request, asks the house, answers. Rules are webhook.py's."""

# ruff: noqa: N802 - the contract names the methods

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import grpc
from google.protobuf import empty_pb2
from messagepipe.dispatch.v1 import webhook_service_pb2 as pb
from messagepipe.dispatch.v1 import webhook_service_pb2_grpc

from services.chassis.auth import current_principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.dispatch import webhook_book as book
from services.dispatch.access import Access
from services.dispatch.convert import timestamp
from services.dispatch.errors import ServiceUnavailable, TooManyWebhooks, WebhookNotFound
from services.dispatch.intake import project_of
from services.dispatch.vault_client import VaultClient
from services.dispatch.webhook import MAX_PER_PROJECT, Webhook, check, new_secret
from services.dispatch.webhook_payload import dumped
from services.dispatch.webhooks import WebhookDesk

Context = grpc.aio.ServicerContext[Any, Any]
CHANGEABLE = ("url", "description", "types", "enabled")


class WebhookServicer(webhook_service_pb2_grpc.WebhookServiceServicer):
    """A project's endpoints, for its own callers; `plain_allowed` says of a host whether http may be spoken to it."""

    def __init__(
        self,
        store: Access,
        vault: VaultClient,
        desk: WebhookDesk,
        plain_allowed: Callable[[str], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._store, self._vault, self._desk = store, vault, desk
        self._plain_allowed, self._now = plain_allowed, now

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Context) -> pb.Webhook:
        """The endpoint with its secret."""
        asked = request.webhook
        if not request.HasField("webhook"):
            raise InvalidArgument(violations=[FieldViolation("webhook", "is required")])
        violations = check(asked.url, asked.description, asked.types, self._plain_allowed, "webhook").violations
        if request.project_id and asked.project_id and request.project_id != asked.project_id:
            violations.append(FieldViolation("webhook.projectId", "must be the same as projectId where both are given"))
        project = _project(request.project_id or asked.project_id)
        if violations:
            raise InvalidArgument(violations=violations)
        webhook_id, secret = uuid4(), new_secret()
        wanted = Webhook(
            id=webhook_id,
            project_id=project,
            url=asked.url,
            description=asked.description,
            types=frozenset(asked.types),
            enabled=asked.enabled if asked.HasField("enabled") else True,
            secret=await self._vault.seal(project, webhook_id, 1, secret),
            created_at=self._now(),
        )
        async with self._store.transaction() as connection:
            added = await book.add(connection, wanted)
        if added is None:
            raise TooManyWebhooks(MAX_PER_PROJECT)
        return _shown(added, secret)

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Context) -> pb.Webhook:
        """One endpoint without its secret."""
        return _shown(await self._find(request.id))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        """A project's endpoints."""
        project = _project(request.project_id)
        async with self._store.connection() as connection:
            found = await book.of_project(connection, project)
        return pb.ListWebhooksResponse(webhooks=[_shown(each) for each in found])

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Context) -> pb.Webhook:
        """The endpoint with its new values."""
        asked, mask = request.webhook, _mask(request)
        async with self._store.transaction() as connection:
            # Held from the first look: what was switched off meanwhile must not be on again because of a description.
            before = await book.hold(connection, _id(asked.id), current_principal().project_filter())
            if before is None:
                raise WebhookNotFound(asked.id)
            wanted = replace(
                before,
                url=asked.url if "url" in mask else before.url,
                description=asked.description if "description" in mask else before.description,
                types=frozenset(asked.types) if "types" in mask else before.types,
                enabled=asked.enabled if "enabled" in mask else before.enabled,
            )
            types = asked.types if "types" in mask else ()
            if violations := check(wanted.url, wanted.description, types, self._plain_allowed, "webhook").violations:
                raise InvalidArgument(violations=violations)
            return _shown(await book.change(connection, wanted, wakes=wanted.enabled and not before.enabled))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> empty_pb2.Empty:
        """Nothing, once the endpoint is gone."""
        async with self._store.connection() as connection:
            if not await book.remove(connection, _id(request.id), current_principal().project_filter()):
                raise WebhookNotFound(request.id)
        return empty_pb2.Empty()

    async def RotateWebhookSecret(self, request: pb.RotateWebhookSecretRequest, context: Context) -> pb.Webhook:
        """The endpoint with its new secret."""
        before, secret = await self._find(request.id), new_secret()
        sealed = await self._vault.seal(before.project_id, before.id, before.secret.version + 1, secret)
        async with self._store.transaction() as connection:
            rotated = await book.rotate(connection, before, sealed)
        if rotated is None:
            await self._find(request.id)
            raise ServiceUnavailable("The endpoint, which somebody else changes at this moment,")
        return _shown(rotated, secret)

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Context) -> pb.TestWebhookResponse:
        """What the endpoint answers to a test."""
        webhook = await self._find(request.id)
        now = self._now()
        body = dumped("webhook.test", now.isoformat(timespec="seconds"), {"projectId": webhook.project_id})
        answer = await self._desk.post_now(webhook, f"evt_test_{uuid4().hex}", body, now)
        return pb.TestWebhookResponse(success=answer.taken, status=answer.status, error=answer.error)

    async def _find(self, webhook_id: str) -> Webhook:
        """The endpoint if it is one of the caller's; otherwise it does not exist, whoever's it is."""
        async with self._store.connection() as connection:
            found = await book.find(connection, _id(webhook_id), current_principal().project_filter())
        if found is None:
            raise WebhookNotFound(webhook_id)
        return found


def _mask(request: pb.UpdateWebhookRequest) -> frozenset[str]:
    """Which values change: those that are named, else those that are given."""
    asked = request.webhook
    if wrong := [path for path in request.update_mask.paths if path not in CHANGEABLE]:
        what = f"can not change {', '.join(sorted(wrong))[:200]}; there are {' '.join(CHANGEABLE)}"
        raise InvalidArgument(violations=[FieldViolation("updateMask", what)])
    given = {field.name for field, _ in asked.ListFields()} & set(CHANGEABLE)
    mask = frozenset(request.update_mask.paths or given)
    if "enabled" in mask and not asked.HasField("enabled"):
        raise InvalidArgument(violations=[FieldViolation("webhook.enabled", "is required: updateMask names it")])
    return mask


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise WebhookNotFound(text[:100]) from None


def _project(asked: str) -> str:
    project = project_of(asked, current_principal(), "projectId")
    if isinstance(project, FieldViolation):
        raise InvalidArgument(violations=[project])
    return project


def _shown(webhook: Webhook, secret: str = "") -> pb.Webhook:
    return pb.Webhook(
        id=str(webhook.id),
        project_id=webhook.project_id,
        url=webhook.url,
        description=webhook.description,
        types=sorted(webhook.types),
        enabled=webhook.enabled,
        secret=secret,
        created_at=timestamp(webhook.created_at),
        failing_since=timestamp(webhook.failing_since),
        last_error=webhook.last_error,
        disabled_reason=webhook.disabled_reason,
    )
