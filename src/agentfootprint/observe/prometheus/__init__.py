"""Runs as Prometheus metrics (`pip install 'agentfootprint[prometheus]'`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ConfigurationError, MissingExtra
from ..tiers import Tier, check_tier

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from .recorder import PrometheusRecorder

__all__ = ["prometheus_observability"]


def prometheus_observability(
    registry: CollectorRegistry | None = None,
    *,
    tenant_label: bool = False,
    max_tenants: int = 50,
    tier: Tier = "standard",
) -> PrometheusRecorder:
    """A recorder that counts and measures runs for Prometheus: runs, iterations, tokens, cost, latencies of
    models, tools and stores, circuit breakers, retries, fallbacks, budgets.

    What is scraped is the registry's, so `prometheus_client.start_http_server(8000)` is enough for the
    global one; `recorder.exposition()` is the text for a `/metrics` route of your own. Labels are bounded:
    of each at most 200 values are told, later ones as "other". Several recorders may share a registry.

    Args:
        registry: where the metrics live; the global one unless given.
        tenant_label: tell runs, tokens and cost by tenant. Each tenant is a time series of its own.
        max_tenants: so many tenants are told, in the order they come; the rest is "other".
        tier: how much is counted; `"everything"` adds the steps of the flow.

    Raises:
        MissingExtra: prometheus-client is not installed.
        ConfigurationError: an argument makes no sense, or the registry has these metrics with other labels.
    """
    check_tier(tier)
    if max_tenants < 1:
        raise ConfigurationError(f"max_tenants={max_tenants} tells no tenant: use 1 or more")
    try:
        from .recorder import PrometheusRecorder
    except ImportError:
        raise MissingExtra("prometheus_observability", "prometheus") from None
    return PrometheusRecorder(registry, tenant_label, max_tenants, tier)
