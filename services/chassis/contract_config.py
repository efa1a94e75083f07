"""Which gRPC services the process of ConfigService serves. The first one is what health is asked about."""

from typing import Final

from google.protobuf.descriptor import ServiceDescriptor
from messagepipe.config.v1 import config_service_pb2, project_service_pb2, template_service_pb2, vault_service_pb2

CONFIG_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    config_service_pb2.DESCRIPTOR.services_by_name["ConfigService"],
    template_service_pb2.DESCRIPTOR.services_by_name["TemplateService"],
    project_service_pb2.DESCRIPTOR.services_by_name["ProjectService"],
    vault_service_pb2.DESCRIPTOR.services_by_name["VaultService"],
)
