"""Which gRPC services each process serves: one list that servers, the gateway, checks of scopes and tests go by. A
service that is not listed is served by nobody. In two modules, because the other's half of the contract takes memory.
"""

from services.chassis.contract_config import CONFIG_SERVICES
from services.chassis.contract_dispatch import DISPATCH_SERVICES

__all__ = ["CONFIG_SERVICES", "DISPATCH_SERVICES"]
