"""From settings to a plan that can not fail for reasons known beforehand. It starts nothing; up.py does."""

from collections.abc import Mapping
from dataclasses import replace

from cli.datadir import DataDir
from cli.keys import jwt_secret, vault_keys
from cli.ports import free_ports
from cli.postgres import Cluster
from cli.serve import checked_url
from cli.settings import ClientSettings, Plan, UpSettings, check_ports
from gateway.settings import GatewaySettings
from services.chassis.env import SecretText, SettingsError, check_names, load, variable_names
from services.config.settings import ConfigSettings
from services.dispatch.settings import DispatchSettings

SERVICE_SETTINGS: Mapping[str, type] = {
    "config": ConfigSettings,
    "dispatch": DispatchSettings,
    "gateway": GatewaySettings,
}
ALL_SETTINGS = (UpSettings, ClientSettings, *SERVICE_SETTINGS.values())


def load_settings(environ: Mapping[str, str]) -> UpSettings:
    """The settings of `up`; SettingsError listing every unknown name or every bad value."""
    check_names(environ, ALL_SETTINGS)
    settings = load(UpSettings, environ)
    check_ports(settings.ports)
    if settings.database_url is not None:
        checked_url(settings.database_url)
    return settings


def make_plan(settings: UpSettings, data: DataDir, environ: Mapping[str, str]) -> Plan:
    """What the processes need, keys made and ports found free; Problem or SettingsError with all that is wrong."""
    ports = free_ports(settings.host, settings.ports)
    plan = Plan(
        settings=replace(
            settings, http_port=ports["gateway"], config_port=ports["config"], dispatch_port=ports["dispatch"]
        ),
        database_url=settings.database_url or SecretText(Cluster(folder=data.postgres, user=None).dsn),
        jwt_secret=settings.jwt_secret or jwt_secret(data),
        vault_keys=settings.vault_keys or vault_keys(data),
        base=environ,
        reads={name: frozenset(variable_names(cls)) for name, cls in SERVICE_SETTINGS.items()},
    )
    problems: dict[str, None] = {}  # the same variable may be wrong for several services: said once
    for name, cls in SERVICE_SETTINGS.items():
        try:
            load(cls, plan.environ_of(name))
        except SettingsError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise SettingsError(problems)
    return plan
