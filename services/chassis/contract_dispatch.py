"""Which gRPC services the process of DispatchService serves. The first one is what health is asked about."""

from typing import Final

from google.protobuf.descriptor import ServiceDescriptor
from messagepipe.dispatch.v1 import dispatch_service_pb2, log_service_pb2, suppression_service_pb2, webhook_service_pb2

DISPATCH_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    dispatch_service_pb2.DESCRIPTOR.services_by_name["DispatchService"],
    log_service_pb2.DESCRIPTOR.services_by_name["LogService"],
    suppression_service_pb2.DESCRIPTOR.services_by_name["SuppressionService"],
    webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
)
