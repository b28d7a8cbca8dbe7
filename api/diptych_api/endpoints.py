"""How a deployment is reached: protocols, ports, ingress, page."""

from typing import Annotated

from pydantic import Field

from diptych_api.fields import Model, Text
from diptych_api.rules import rule

Port = Annotated[int, Field(ge=1, le=65_535)]


class HTTPEndpoint(Model):
    """The HTTP API."""

    port: Port = Field(default=8000, description="Port of the Service.")
    ingress_host: Text | None = Field(default=None, description="Host name of an Ingress; none when unset.")
    ingress_class: Text | None = Field(default=None, description="Ingress class.")
    tls_secret: Text | None = Field(default=None, description="Secret with the Ingress's certificate.")
    gateway: Text | None = Field(
        default=None, description="Gateway of an HTTPRoute, as name or namespace/name; takes the Ingress's place."
    )
    cors_origins: list[Text] = Field(default=[], max_length=32, description="Origins that pages may call from.")


class GRPCEndpoint(Model):
    """The gRPC API."""

    enabled: bool = Field(default=True, description="Serve gRPC.")
    port: Port = Field(default=9000, description="Port of the Service.")
    reflection: bool = Field(default=False, description="Let clients list the methods.")


class CompareEndpoint(Model):
    """Base and adapters side by side."""

    enabled: bool = Field(default=True, description="Serve compare and grids.")


class CompatibleEndpoint(Model):
    """Paths and ports of earlier systems: /infer, /generate/, /metrics-lite, /ping."""

    enabled: bool = Field(default=False, description="Serve them on ports of their own too.")
    port: Port = Field(default=7861, description="Port of /infer and /health.")
    ping_port: Port = Field(default=8080, description="Port of /ping.")


class Endpoints(Model):
    """How clients reach the deployment."""

    http: HTTPEndpoint = Field(default=HTTPEndpoint(), description="The HTTP API.")
    grpc: GRPCEndpoint = Field(default=GRPCEndpoint(), description="The gRPC API.")
    compare: CompareEndpoint = Field(default=CompareEndpoint(), description="Base and adapters side by side.")
    compatible: CompatibleEndpoint = Field(default=CompatibleEndpoint(), description="Paths of earlier systems.")

    @rule(
        "http.port, grpc.port, compatible.port and compatible.pingPort must differ",
        cel=(
            "[self.http.port, self.grpc.port, self.compatible.port, self.compatible.pingPort].all(port, "
            "[self.http.port, self.grpc.port, self.compatible.port, self.compatible.pingPort]"
            ".exists_one(other, other == port))"
        ),
    )
    def _ports_differ(self) -> bool:
        return len({self.http.port, self.grpc.port, self.compatible.port, self.compatible.ping_port}) == 4  # noqa: PLR2004


class Page(Model):
    """The web page."""

    enabled: bool = Field(default=True, description="Serve the page on /ui.")
    title: Text = Field(default="Diptych", description="Title of the page.")
