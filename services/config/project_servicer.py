"""The methods of ProjectService, one short function each: read the request, do it, answer. Rules live elsewhere."""

# ruff: noqa: N802 - methods have the contract's names

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from messagepipe.config.v1 import project_service_pb2 as pb2
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceServicer

from services.chassis.auth import current_principal
from services.config import project_requests as requests
from services.config.api_key_feed import ApiKeyFeed, RollWatcher
from services.config.errors import ProjectNotFound
from services.config.project_convert import api_key_message, made_key_message, project_message, roll_message
from services.config.project_editor import ProjectEditor
from services.config.store import Store

Context = grpc.aio.ServicerContext[Any, Any]


class ProjectServicer(ProjectServiceServicer):
    """ProjectService behind the interceptor, which has checked token and scope; errors are raised as ServiceError."""

    def __init__(self, store: Store, editor: ProjectEditor, feed: ApiKeyFeed) -> None:
        self._store, self._editor, self._feed = store, editor, feed

    async def CreateProject(self, request: pb2.CreateProjectRequest, context: Context) -> pb2.Project:
        """The new project."""
        project_id, name = requests.read_creation(current_principal(), request)
        return project_message(await self._editor.create(project_id, name))

    async def ListProjects(self, request: pb2.ListProjectsRequest, context: Context) -> pb2.ListProjectsResponse:
        """A page of the projects that the token names, by id."""
        principal = current_principal()
        page = requests.read_page(principal, request)
        after = str(page.cursor[0]) if page.cursor else ""
        async with self._store.transaction() as transaction:
            found = await transaction.projects.page(principal.project_filter(), after=after, limit=page.size + 1)
        answer = pb2.ListProjectsResponse(projects=[project_message(each) for each in found[: page.size]])
        if len(found) > page.size:
            answer.next_page_token = page.next_token(found[page.size - 1].id)
        return answer

    async def GetProject(self, request: pb2.GetProjectRequest, context: Context) -> pb2.Project:
        """One project."""
        project_id = requests.read_project(current_principal(), request)
        async with self._store.transaction() as transaction:
            found = await transaction.projects.find(project_id)
        if found is None:
            raise ProjectNotFound
        return project_message(found)

    async def DeleteProject(self, request: pb2.DeleteProjectRequest, context: Context) -> Empty:
        """Nothing, once the project and its configuration are gone."""
        await self._editor.delete(requests.read_project(current_principal(), request), request.confirm)
        return Empty()

    async def CreateApiKey(self, request: pb2.CreateApiKeyRequest, context: Context) -> pb2.CreateApiKeyResponse:
        """The new key, shown this once."""
        project_id, name = requests.read_key_creation(current_principal(), request)
        return made_key_message(await self._editor.create_key(project_id, name))

    async def ListApiKeys(self, request: pb2.ListApiKeysRequest, context: Context) -> pb2.ListApiKeysResponse:
        """The project's keys, oldest first."""
        project_id = requests.read_project_of_key(current_principal(), request)
        async with self._store.transaction() as transaction:
            found = await transaction.api_keys.of_project(project_id)
        return pb2.ListApiKeysResponse(api_keys=[api_key_message(each) for each in found])

    async def UpdateApiKey(self, request: pb2.UpdateApiKeyRequest, context: Context) -> pb2.ApiKey:
        """The key with its new values."""
        project_id, change = requests.read_key_change(current_principal(), request)
        return api_key_message(await self._editor.update_key(project_id, request.id, change))

    async def DeleteApiKey(self, request: pb2.DeleteApiKeyRequest, context: Context) -> Empty:
        """Nothing, once the key is gone."""
        project_id = requests.read_project_of_key(current_principal(), request)
        await self._editor.delete_key(project_id, request.id)
        return Empty()

    async def WatchApiKeys(
        self, request_iterator: AsyncIterator[pb2.WatchApiKeysRequest], context: Context
    ) -> AsyncIterator[pb2.WatchApiKeysResponse]:
        """The roll and its changes, until the caller falls silent or the service drains."""
        may_use = current_principal().may_use
        with self._feed.watch() as watcher:
            # A task of its own and no TaskGroup: a generator must not yield inside one.
            words = asyncio.create_task(self._hear(request_iterator, watcher), name="dispatcher's words")
            try:
                async for answer in watcher.answers():
                    yield roll_message(answer, may_use)
            finally:
                words.cancel()
                await asyncio.wait([words])

    async def RecordApiKeyUses(self, request: pb2.RecordApiKeyUsesRequest, context: Context) -> Empty:
        """Nothing, once it is written down."""
        await self._editor.record_uses(requests.read_uses(request), current_principal().project_filter())
        return Empty()

    async def ListGoneProjects(
        self, request: pb2.ListGoneProjectsRequest, context: Context
    ) -> pb2.ListGoneProjectsResponse:
        """The projects that were deleted since."""
        since = request.since.ToDatetime(tzinfo=UTC)
        async with self._store.transaction() as transaction:
            found = await transaction.projects.gone_since(since)
        answer = pb2.ListGoneProjectsResponse()
        for project_id, gone_at in found:
            answer.projects.add(id=project_id).gone_at.FromDatetime(gone_at)
        return answer

    async def _hear(self, words: AsyncIterator[pb2.WatchApiKeysRequest], watcher: RollWatcher) -> None:
        """Takes every word until the caller has no more; then nobody waits for it any longer."""
        try:
            async for word in words:
                watcher.hear(word.word, word.version)
                self._feed.moved()
        finally:
            watcher.let_go()
            self._feed.moved()
