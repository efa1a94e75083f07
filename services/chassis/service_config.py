"""How a client of ours should call: where to go, what to try again and how often, as gRPC's service config.

Written for everybody in protos/service_config.json, used by our own channels. What may be tried again is what does no
harm twice: reads, receipts, and writes that carry an idempotency key. Only UNAVAILABLE is tried again: who is told
RESOURCE_EXHAUSTED is asked for less, not for more.
"""

import json
from typing import Any

CONFIG = "messagepipe.config.v1.ConfigService"
TEMPLATES = "messagepipe.config.v1.TemplateService"
PROJECTS = "messagepipe.config.v1.ProjectService"
DISPATCH = "messagepipe.dispatch.v1.DispatchService"
LOG = "messagepipe.dispatch.v1.LogService"
SUPPRESSION = "messagepipe.dispatch.v1.SuppressionService"
VAULT = "messagepipe.config.v1.VaultService"
WEBHOOK = "messagepipe.dispatch.v1.WebhookService"

# Harmless twice, whoever asks.
READS = {
    CONFIG: (
        "ListProviderSchemas",
        "GetProviderSchema",
        "GetProvider",
        "ListProviders",
        "GetChannelConfig",
        "ResolveChain",
        "GetOpenedProvider",
    ),
    TEMPLATES: (
        "GetTemplate",
        "ListTemplates",
        "GetTemplateVariables",
        "PreviewTemplate",
        "RenderTemplate",
        "ResolveTemplate",
    ),
    PROJECTS: ("ListProjects", "GetProject", "ListApiKeys", "RecordApiKeyUses", "ListGoneProjects"),
    DISPATCH: (
        "WatchMessage",
        "WatchProject",
        "GetMessage",
        "ListMessages",
        "ExplainRoute",
        "ReceiveReceipt",
    ),
    LOG: ("ListLogEntries", "GetLogEntry", "GetAnalytics"),
    SUPPRESSION: ("ListSuppressions", "CreateSuppression"),
    VAULT: ("SealSecret", "OpenSecret"),
    WEBHOOK: ("GetWebhook", "ListWebhooks", "UpdateWebhook"),
}
# Harmless twice when the request carries an idempotency key, and only then.
KEYED = {
    CONFIG: (
        "CreateProvider",
        "UpdateProvider",
        "DeleteProvider",
        "ReorderProviders",
        "CreateChannelConfig",
        "UpdateChannelConfig",
    ),
    TEMPLATES: (
        "CreateTemplate",
        "UpdateTemplate",
        "DeleteTemplate",
    ),
    PROJECTS: (),
    DISPATCH: (
        "CreateMessage",
        "BatchCreateMessages",
        "DispatchMessage",
        "SendMessage",
        "SendBulkMessages",
    ),
    LOG: (),
    SUPPRESSION: (),
    VAULT: (),
    WEBHOOK: (),
}
RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# At most one retry for ten calls that go well, once a reserve is used up: an outage must not be answered with a flood.
RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}
# What no service config can say.
CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    # gRPC core does not try again what is larger than 256 KiB unless it is told to keep it; attachments are.
    ("grpc.per_rpc_retry_buffer_size", 64 * 1024 * 1024),
    # A replica that was restarted is found again within a second; by default it may take two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def service_config(*, keyed: bool = True, wait_for_ready: bool = True) -> dict[str, Any]:
    """The service config. `keyed`: every write carries an idempotency key; `wait_for_ready`: calls wait for a replica
    as long as their deadline lets them, instead of failing while none is there.
    """
    methods = {service: [*READS[service], *(KEYED[service] if keyed else ())] for service in READS}
    names = [{"service": service, "method": method} for service in methods for method in methods[service]]
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        # A replica that is about to stop says so first: whoever watches its health has left before it closes.
        "healthCheckConfig": {"serviceName": ""},
        "retryThrottling": RETRY_THROTTLING,
        "methodConfig": [{"name": names, "waitForReady": wait_for_ready, "retryPolicy": RETRY_POLICY}],
    }


def channel_options(*, keyed: bool = True, wait_for_ready: bool = True) -> list[tuple[str, Any]]:
    """The options of a gRPC channel that does as the service config says."""
    config = service_config(keyed=keyed, wait_for_ready=wait_for_ready)
    return [("grpc.service_config", json.dumps(config)), *CHANNEL_OPTIONS]
