"""The schemas of the kinds that are installed, as a form would get them."""

import json

from google.protobuf.json_format import MessageToDict
from jsonschema import Draft202012Validator
from messagepipe.config.v1 import config_service_pb2 as pb2

from services.adapters.registry import specs
from services.config.app import open_config
from tests.integration.config.service import a_settings, calling, opened


async def test_every_installed_schema_arrives_as_it_is(database_url: str) -> None:
    """Each kind's schema comes over the wire unchanged and is valid JSON Schema 2020-12."""
    async with opened(a_settings(database_url), specs()) as running, calling(running.address) as caller:
        answer = await caller.call("ListProviderSchemas", pb2.ListProviderSchemasRequest())
    served = {(schema.channel, schema.kind): MessageToDict(schema.config_schema) for schema in answer.schemas}
    assert len(served) == len(specs())
    for spec in specs():
        channel = {"EMAIL": 1, "SMS": 2}[spec.channel]
        schema = served[channel, spec.kind]
        Draft202012Validator.check_schema(schema)
        assert schema == json.loads(json.dumps(spec.config_schema))


async def test_service_offers_every_installed_kind(database_url: str) -> None:
    """Without being told otherwise the service offers what the registry holds, the sandbox among it."""
    async with open_config(a_settings(database_url)) as running, calling(running.address) as caller:
        answer = await caller.call("ListProviderSchemas", pb2.ListProviderSchemasRequest())
    assert {"sandbox", "sendgrid", "smtp", "twilio"} <= {schema.kind for schema in answer.schemas}
