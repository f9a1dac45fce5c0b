"""What the cluster consists of: nodes, partitions, reservations, QOS, and its users."""

from __future__ import annotations

from s9s_client.low.api.nodes import drain_node, get_node, list_nodes, resume_node, set_node_state
from s9s_client.low.api.partitions import get_partition, list_partitions
from s9s_client.low.api.qos import get_qos, list_qos
from s9s_client.low.api.reservations import get_reservation, list_reservations
from s9s_client.low.api.users import get_user, list_users
from s9s_client.low.client import AuthenticatedClient
from s9s_client.low.models.drain_node_body import DrainNodeBody
from s9s_client.low.models.list_nodes_response_200 import ListNodesResponse200
from s9s_client.low.models.list_partitions_response_200 import ListPartitionsResponse200
from s9s_client.low.models.list_qos_response_200 import ListQosResponse200
from s9s_client.low.models.list_reservations_response_200 import ListReservationsResponse200
from s9s_client.low.models.list_users_response_200 import ListUsersResponse200
from s9s_client.low.models.node import Node
from s9s_client.low.models.node_change import NodeChange
from s9s_client.low.models.node_detail import NodeDetail
from s9s_client.low.models.partition import Partition
from s9s_client.low.models.partition_detail import PartitionDetail
from s9s_client.low.models.qos import Qos
from s9s_client.low.models.qos_detail import QosDetail
from s9s_client.low.models.reservation import Reservation
from s9s_client.low.models.set_node_state_body import SetNodeStateBody
from s9s_client.low.models.user import User
from s9s_client.low.models.user_detail import UserDetail
from s9s_client.pages import Page
from s9s_client.values import drop_none, expect, make_body


class Nodes:
    """Nodes: list, look at, drain, resume."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def list(
        self,
        *,
        state: str | None = None,
        partition: str | None = None,
        features: str | None = None,
        available: bool | None = None,
    ) -> Page[Node]:
        """Return the nodes that fit."""
        asked = drop_none(state=state, partition=partition, features=features, available=available)
        found = expect(ListNodesResponse200, await list_nodes.asyncio(client=self.low, **asked))
        return Page(found.nodes, found.total)

    async def get(self, name: str) -> NodeDetail:
        """Return one node."""
        return expect(NodeDetail, await get_node.asyncio(name, client=self.low))

    async def drain(self, name: str, *, reason: str, timeout: str | None = None) -> NodeChange:
        """Give a node no new jobs; with a timeout ("2h") it resumes by itself."""
        body = make_body(DrainNodeBody, reason=reason, timeout=timeout)
        return expect(NodeChange, await drain_node.asyncio(name, client=self.low, body=body))

    async def resume(self, name: str) -> NodeChange:
        """Let a node take jobs again."""
        return expect(NodeChange, await resume_node.asyncio(name, client=self.low))

    async def set_state(self, name: str, state: str, *, reason: str | None = None) -> NodeChange:
        """Set the state of a node."""
        body = make_body(SetNodeStateBody, state=state, reason=reason)
        return expect(NodeChange, await set_node_state.asyncio(name, client=self.low, body=body))


class Users:
    """Users of the cluster."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def list(self) -> Page[User]:
        """Return all users."""
        found = expect(ListUsersResponse200, await list_users.asyncio(client=self.low))
        return Page(found.users, found.total)

    async def get(self, name: str) -> UserDetail:
        """Return one user, with limits and recent jobs."""
        return expect(UserDetail, await get_user.asyncio(name, client=self.low))


class Partitions:
    """Partitions of the cluster."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def list(self) -> Page[Partition]:
        """Return all partitions."""
        found = expect(ListPartitionsResponse200, await list_partitions.asyncio(client=self.low))
        return Page(found.partitions, found.total)

    async def get(self, name: str) -> PartitionDetail:
        """Return one partition."""
        return expect(PartitionDetail, await get_partition.asyncio(name, client=self.low))


class Reservations:
    """Reservations of nodes."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def list(self) -> Page[Reservation]:
        """Return all reservations."""
        found = expect(ListReservationsResponse200, await list_reservations.asyncio(client=self.low))
        return Page(found.reservations, found.total)

    async def get(self, name: str) -> Reservation:
        """Return one reservation."""
        return expect(Reservation, await get_reservation.asyncio(name, client=self.low))


class QualitiesOfService:
    """QOS of the cluster."""

    def __init__(self, low: AuthenticatedClient) -> None:
        self.low = low

    async def list(self) -> Page[Qos]:
        """Return all QOS."""
        found = expect(ListQosResponse200, await list_qos.asyncio(client=self.low))
        return Page(found.qos, found.total)

    async def get(self, name: str) -> QosDetail:
        """Return one QOS."""
        return expect(QosDetail, await get_qos.asyncio(name, client=self.low))
