"""DispatchService as gRPC sees it: each method reads its request, asks the house, answers. No decision is made here."""

# ruff: noqa: N802 - the contract names the methods

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import grpc
from google.protobuf import empty_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import dispatch_service_pb2_grpc, message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.type.v1 import channel_pb2

from services.adapters.receipts import ReceiptRequest
from services.chassis.auth import current_principal
from services.chassis.errors import FieldViolation, InvalidArgument, ServiceError
from services.chassis.idempotency import REPLAYED
from services.chassis.pagination import parse_page
from services.chassis.streaming import resumable
from services.dispatch import answers
from services.dispatch import history as tell
from services.dispatch.acceptor import Accepted, Checked
from services.dispatch.bulk import Bulk
from services.dispatch.config_client import ChainCache, ConfigUnavailable
from services.dispatch.convert import CHANNELS, state_from_code
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.errors import MessageNotFound, ServiceUnavailable, StillSending, WrongState
from services.dispatch.explain import explain
from services.dispatch.failover import Finish, possible_duplicate
from services.dispatch.generation_book import Wish, retry
from services.dispatch.health_board import HealthBoard
from services.dispatch.intake import Intake, project_of
from services.dispatch.ledger import Completion
from services.dispatch.limit_board import LimitBoard
from services.dispatch.message import EndReason, Message, State
from services.dispatch.overviews import Wanted
from services.dispatch.receipts import ReceiptDesk
from services.dispatch.records import Overview
from services.dispatch.resume import position_from_token, token_from_position
from services.dispatch.store import Store
from services.dispatch.telemetry import UNCOUNTED, Telemetry
from services.dispatch.watch import EventHub, Moved, watch_message, watch_project

MAX_BATCH = 1000
_REPLAYED = ((REPLAYED, "true"),)
Context = grpc.aio.ServicerContext[Any, Any]


class DispatchServicer(dispatch_service_pb2_grpc.DispatchServiceServicer):
    """The methods of the contract; those that are not served yet say so."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        hub: EventHub,
        chains: ChainCache,
        health: HealthBoard,
        database_clock: DatabaseClock,
        *,
        receipts: ReceiptDesk,
        limits: LimitBoard,
        bulk: Bulk,
        telemetry: Telemetry = UNCOUNTED,
    ) -> None:
        self._store = store
        self._intake = intake
        self._hub = hub
        self._chains = chains
        self._health = health
        self._database_clock = database_clock
        self._receipts = receipts
        self._limits = limits
        self._bulk = bulk
        self._telemetry = telemetry

    async def CreateMessage(self, request: pb.CreateMessageRequest, context: Context) -> message_pb2.Message:
        """Accept durably, answer at once."""
        _require_message(request)
        checked = await self._intake.checked(request.message, current_principal())
        accepted = await self._accept(checked, context)
        spec = await self._first_spec(accepted, checked.spec)
        return answers.accepted(accepted.message, spec, replayed=accepted.replayed)

    async def _first_spec(self, accepted: Accepted, spec: message_pb2.MessageSpec) -> message_pb2.MessageSpec:
        """What a first call answered stands with the message: its template may have another version by now."""
        if not accepted.replayed or not spec.template_id:
            return spec
        overview = await self._store.overview(accepted.message.id, [accepted.message.project_id])
        return spec if overview is None else message_pb2.MessageSpec.FromString(overview.labels)

    async def _accept(self, checked: Checked, context: Context) -> Accepted:
        accepted = await self._intake.accept(checked)
        if accepted.replayed:
            await context.send_initial_metadata(_REPLAYED)
        return accepted

    async def BatchCreateMessages(
        self, request: pb.BatchCreateMessagesRequest, context: Context
    ) -> pb.BatchCreateMessagesResponse:
        """Accept each item by itself (R12)."""
        if not 1 <= len(request.messages) <= MAX_BATCH:
            raise InvalidArgument(violations=[FieldViolation("messages", f"must have 1 to {MAX_BATCH} items")])
        accepted = await self._intake.accept_batch(request.messages, current_principal())
        response = answers.batch(accepted)
        await _tell_if_all_replayed(response.results, context)
        return response

    async def DispatchMessage(
        self, request: pb.DispatchMessageRequest, context: Context
    ) -> AsyncIterator[DeliveryEvent]:
        """Accept, then stream the dispatch."""
        _require_message(request)
        checked = await self._intake.checked(request.message, current_principal())
        message = (await self._accept(checked, context)).message
        # Nothing is missed before the inbox is there: what is told by then, the watch reads from the database.
        with self._hub.of_message(message.id) as inbox:
            async for event in watch_message(self._store, inbox, message.id, 0):
                with resumable(afterSequence=str(event.sequence)):
                    yield event

    async def SendMessage(self, request: pb.SendMessageRequest, context: Context) -> pb.SendMessageResponse:
        """Accept, wait for the end, answer it."""
        _require_message(request)
        accepted = await self._accept(await self._intake.checked(request.message, current_principal()), context)
        if accepted.message.send_at is not None:
            return answers.put_off_until(accepted.message, replayed=accepted.replayed)
        events = await self._ending(accepted.message, context)
        return answers.sent(accepted.message, events, replayed=accepted.replayed)

    async def _ending(self, message: Message, context: Context) -> list[DeliveryEvent]:
        """Every event of a dispatch; StillSending shortly before the caller's own time is over."""
        remaining = context.time_remaining()
        limit = max(remaining - answers.MARGIN, 0.0) if remaining else None
        with self._hub.of_message(message.id) as inbox:
            try:
                async with asyncio.timeout(limit):
                    return [event async for event in watch_message(self._store, inbox, message.id, 0)]
            except (TimeoutError, Moved):
                raise StillSending(message.id) from None

    async def SendBulkMessages(
        self, request: pb.SendBulkMessagesRequest, context: Context
    ) -> pb.SendBulkMessagesResponse:
        """One content, many recipients, one message and one result each."""
        _require_message(request)
        results = await self._bulk.send(request, current_principal(), context.time_remaining())
        await _tell_if_all_replayed(results, context)
        return answers.bulk(request.message.channel, results)

    async def WatchMessage(self, request: pb.WatchMessageRequest, context: Context) -> AsyncIterator[DeliveryEvent]:
        """The history, then what happens, up to the end."""
        overview = await self._find(request.message_id)
        if request.after_sequence < 0:
            raise InvalidArgument(violations=[FieldViolation("afterSequence", "must be 0 or more")])
        with self._hub.of_message(overview.id) as inbox:
            async for event in watch_message(self._store, inbox, overview.id, request.after_sequence):
                with resumable(afterSequence=str(event.sequence)):
                    yield event

    async def WatchProject(
        self, request: pb.WatchProjectRequest, context: Context
    ) -> AsyncIterator[pb.WatchProjectResponse]:
        """What happens in a project, from now or from where a token stands."""
        project = _project(request.project_id)
        with self._hub.of_project(project) as inbox:
            given = position_from_token(request.resume_token) if request.resume_token else None
            start = given or await self._store.project_position()
            # Headers at once: the watcher then knows that nothing after this moment will be missed.
            await context.send_initial_metadata(())
            async for event, position in watch_project(self._store, inbox, project, start):
                token = token_from_position(position)
                with resumable(resumeToken=token):
                    yield pb.WatchProjectResponse(event=event, resume_token=token)

    async def GetMessage(self, request: pb.GetMessageRequest, context: Context) -> message_pb2.Message:
        """One message with its attempts."""
        overview = await self._find(request.id)
        return answers.message(overview, await self._store.attempts(overview.id))

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Context) -> pb.ListMessagesResponse:
        """A project's messages, newest first."""
        project = _project(request.project_id)
        _require_known_words(request)
        key = (str(request.channel), str(request.state), request.reason)
        page = parse_page(request.page_size, request.page_token, "ListMessages", project, *key, key_types=(str,))
        found = await self._store.list_messages(
            Wanted(
                project_id=project,
                channel=CHANNELS.get(request.channel),
                state=state_from_code(request.state) if request.state else None,
                reason=request.reason,
            ),
            before=UUID(str(page.cursor[0])) if page.cursor else None,
            limit=page.size + 1,
        )
        shown = found[: page.size]
        token = page.next_token(str(shown[-1].id)) if len(found) > page.size else ""
        return pb.ListMessagesResponse(messages=[answers.message(item, ()) for item in shown], next_page_token=token)

    async def CancelMessage(self, request: pb.CancelMessageRequest, context: Context) -> message_pb2.Message:
        """End a message that nobody is calling a provider for."""
        overview = await self._find(request.id)
        attempts = await self._store.attempts(overview.id)
        finish = Finish(state=State.CANCELED, reason=EndReason.CANCELED_BY_CALLER)
        payload = tell.completed(finish, attempts).SerializeToString()
        duplicate = possible_duplicate(attempts)
        completion = Completion(state=finish.state, reason=finish.reason, possible_duplicate=duplicate)
        if await self._store.cancel(overview.id, completion, payload) is None:
            now = await self._find(request.id)
            why = (
                "Its dispatch has ended."
                if now.completed_at
                else "An attempt is in flight; try again when it has ended."
            )
            raise WrongState(overview.id, now.state, why)
        self._telemetry.canceled(overview.channel)
        self._hub.hint(overview.project_id)
        return await self.GetMessage(pb.GetMessageRequest(id=request.id), context)

    async def RetryMessage(self, request: pb.RetryMessageRequest, context: Context) -> message_pb2.Message:
        """Dispatch a dead letter anew."""
        wish = Wish(accept_duplicate=request.accept_duplicate, generation=request.generation)
        await self._retry(await self._find(request.id), wish)
        return await self.GetMessage(pb.GetMessageRequest(id=request.id), context)

    async def RetryDelivery(self, request: pb.RetryDeliveryRequest, context: Context) -> pb.RetryDeliveryResponse:
        """The same, as the documented paths have it."""
        overview = await self._retry_logged(request.channel, request.delivery_log_id, "deliveryLogId")
        return answers.retried(overview.channel)

    async def RetryDeliveries(self, request: pb.RetryDeliveriesRequest, context: Context) -> pb.RetryDeliveriesResponse:
        """The same for several, each by itself."""
        if not 1 <= len(request.delivery_log_ids) <= MAX_BATCH:
            raise InvalidArgument(violations=[FieldViolation("deliveryLogIds", f"must have 1 to {MAX_BATCH} ids")])
        refused: dict[str, ServiceError] = {}
        for each in dict.fromkeys(request.delivery_log_ids):
            try:
                await self._retry_logged(request.channel, each, "deliveryLogIds")
            except ServiceError as error:
                refused[each] = error
        return answers.retried_each(request, refused)

    async def _retry_logged(self, channel: channel_pb2.Channel.ValueType, message_id: str, path: str) -> Overview:
        """Whoever asks for it by hand has decided that a second copy is all right."""
        if not message_id:
            raise InvalidArgument(violations=[FieldViolation(path, "is required")])
        overview = await self._find(message_id)
        if channel and CHANNELS.get(channel) is not overview.channel:
            raise MessageNotFound(str(overview.id))
        await self._retry(overview, Wish(accept_duplicate=True))
        return overview

    async def _retry(self, overview: Overview, wish: Wish) -> None:
        async with self._store.transaction() as connection:
            retried = await retry(connection, overview.id, wish)
        if retried is not None:
            self._hub.publish(overview.id, overview.project_id, retried.step, retried.at)

    async def ExplainRoute(self, request: pb.ExplainRouteRequest, context: Context) -> pb.ExplainRouteResponse:
        """Which provider would be tried, which passed by."""
        _require_message(request)
        asked = answers.with_any_content(request.message)
        message = (await self._intake.checked(asked, current_principal())).message
        try:
            chain = await self._chains.get(message.project_id, message.channel)
        except ConfigUnavailable:
            raise ServiceUnavailable("ConfigService") from None
        route = explain(message, chain, self._health.marks(), self._database_clock.now())
        return answers.route(route, chain, self._limits.concurrency())

    async def ReceiveReceipt(self, request: pb.ReceiveReceiptRequest, context: Context) -> empty_pb2.Empty:
        """What a provider tells, durable when answered."""
        told = ReceiptRequest(
            url=request.url,
            headers=dict(request.headers),
            body=request.body.data,
            received_at=self._database_clock.now(),
        )
        await self._receipts.receive(request.kind, request.provider_id, told)
        return empty_pb2.Empty()

    async def _find(self, message_id: str) -> Overview:
        """The message if it is one of the caller's; otherwise it does not exist, whoever's it is."""
        try:
            parsed = UUID(message_id)
        except ValueError:
            raise MessageNotFound(message_id[:100]) from None
        overview = await self._store.overview(parsed, current_principal().project_filter())
        if overview is None:
            raise MessageNotFound(str(parsed))
        return overview


def _require_known_words(request: pb.ListMessagesRequest) -> None:
    violations = []
    if request.channel and request.channel not in CHANNELS:
        violations.append(FieldViolation("channel", "must be EMAIL or SMS"))
    if request.state and request.state not in message_pb2.Message.State.values():
        violations.append(FieldViolation("state", "is no state of a message"))
    if len(request.reason) > 64:
        violations.append(FieldViolation("reason", "is no reason of a message: they have at most 64 characters"))
    if violations:
        raise InvalidArgument(violations=violations)


async def _tell_if_all_replayed(
    results: Sequence[pb.BatchCreateMessagesResponse.Result | pb.SendBulkMessagesResponse.Result], context: Context
) -> None:
    """The answer as a whole repeats an earlier one when it has messages and none of them is new."""
    made = [result for result in results if result.message_id]
    if made and all(result.replayed for result in made):
        await context.send_initial_metadata(_REPLAYED)


def _require_message(request: Any) -> None:
    if not request.HasField("message"):
        raise InvalidArgument(violations=[FieldViolation("message", "is required")])


def _project(asked: str) -> str:
    project = project_of(asked, current_principal(), "projectId")
    if isinstance(project, FieldViolation):
        raise InvalidArgument(violations=[project])
    return project
