"""The Python client library as somebody's program uses it: one client a host and access token, over HTTP or a socket.

Connected to 127.0.0.1 whatever the host is called, since a resolver may not know the names under localhost.
"""

from __future__ import annotations

from gql import Client
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

from tests import serving


def over_http(served: serving.Client, *, host: str = "localhost", token: str | None = None) -> Client:
    """A client that sends each operation as a POST."""
    headers = {"host": f"{host}:{served.port}"} | ({"authorization": f"Bearer {token}"} if token else {})
    transport = HTTPXAsyncTransport(
        f"http://127.0.0.1:{served.port}/graphql", headers=headers, trust_env=False, timeout=60
    )
    return Client(transport=transport, fetch_schema_from_transport=False, execute_timeout=60)


def over_socket(served: serving.Client, *, host: str = "localhost", token: str | None = None) -> Client:
    """A client that speaks graphql-transport-ws; the token goes with connection_init."""
    transport = WebsocketsTransport(
        f"ws://{host}:{served.port}/graphql",
        init_payload={"authorization": f"Bearer {token}"} if token else {},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        connect_args={"host": "127.0.0.1", "port": served.port, "proxy": None},
    )
    return Client(transport=transport, fetch_schema_from_transport=False, execute_timeout=60)
