"""How the cluster does: metrics and alerts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from s9s_client.asynchronous.paging import iterate_pages
from s9s_client.low.api.alerts import acknowledge_alert, list_alerts, resolve_alert
from s9s_client.low.api.metrics import get_cluster_metrics, get_efficiency, get_performance_metrics
from s9s_client.low.client import AuthenticatedClient
from s9s_client.low.models.alert import Alert
from s9s_client.low.models.cluster_metrics import ClusterMetrics
from s9s_client.low.models.get_efficiency_response_200 import GetEfficiencyResponse200
from s9s_client.low.models.get_performance_metrics_response_200 import GetPerformanceMetricsResponse200
from s9s_client.low.models.list_alerts_response_200 import ListAlertsResponse200
from s9s_client.pages import Page
from s9s_client.values import drop_none, expect


class Metrics:
    """Numbers of the cluster, of a period, of jobs."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def cluster(self) -> ClusterMetrics:
        """Return how the cluster is used now."""
        return expect(ClusterMetrics, await get_cluster_metrics.asyncio(client=self.low))

    async def performance(
        self, *, start_time: str | None = None, end_time: str | None = None, interval: str | None = None
    ) -> GetPerformanceMetricsResponse200:
        """Return how it was used, by intervals (1m, 5m, 1h, 1d)."""
        asked = drop_none(start_time=start_time, end_time=end_time, interval=interval)
        return expect(GetPerformanceMetricsResponse200, await get_performance_metrics.asyncio(client=self.low, **asked))

    async def efficiency(
        self,
        *,
        user: str | None = None,
        partition: str | None = None,
        min_runtime: str | None = None,
        start_time: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> GetEfficiencyResponse200:
        """Return what jobs have used of what they were given."""
        asked = drop_none(
            user=user, partition=partition, min_runtime=min_runtime, start_time=start_time, limit=limit, offset=offset
        )
        return expect(GetEfficiencyResponse200, await get_efficiency.asyncio(client=self.low, **asked))


class Alerts:
    """What needs somebody's attention."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def list(
        self,
        *,
        severity: str | None = None,
        type: str | None = None,
        acknowledged: bool | None = None,
        resolved: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Page[Alert]:
        """Return one page of the alerts that fit."""
        asked = drop_none(
            severity=severity, type_=type, acknowledged=acknowledged, resolved=resolved, limit=limit, offset=offset
        )
        found = expect(ListAlertsResponse200, await list_alerts.asyncio(client=self.low, **asked))
        return Page(found.alerts, found.total, found.offset, found.has_more)

    async def iterate(self, *, limit: int = 500, **filters: Any) -> AsyncIterator[Alert]:
        """Yield all alerts that fit, page by page; `filters` are those of `list`."""
        async for alert in iterate_pages(self.list, "alert_id", limit, **filters):
            yield alert

    async def acknowledge(self, alert_id: str) -> Alert:
        """Say that somebody looks after it."""
        return expect(Alert, await acknowledge_alert.asyncio(alert_id, client=self.low))

    async def resolve(self, alert_id: str) -> Alert:
        """Say that it is over."""
        return expect(Alert, await resolve_alert.asyncio(alert_id, client=self.low))
