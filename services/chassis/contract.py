"""Which gRPC services each process serves: one list that servers, the gateway, checks of scopes and tests go by. A
service that is not listed here is served by nobody.
"""

from typing import Final

from google.protobuf.descriptor import ServiceDescriptor
from messagepipe.config.v1 import config_service_pb2, project_service_pb2, template_service_pb2, vault_service_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2, log_service_pb2, suppression_service_pb2, webhook_service_pb2

# The first one of each is what health is asked about.
CONFIG_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    config_service_pb2.DESCRIPTOR.services_by_name["ConfigService"],
    template_service_pb2.DESCRIPTOR.services_by_name["TemplateService"],
    project_service_pb2.DESCRIPTOR.services_by_name["ProjectService"],
    vault_service_pb2.DESCRIPTOR.services_by_name["VaultService"],
)
DISPATCH_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    dispatch_service_pb2.DESCRIPTOR.services_by_name["DispatchService"],
    log_service_pb2.DESCRIPTOR.services_by_name["LogService"],
    suppression_service_pb2.DESCRIPTOR.services_by_name["SuppressionService"],
    webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
)
