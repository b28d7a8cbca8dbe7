"""What a deployment lets clients ask for, how often, and who may ask."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from diptych_api.fields import Location, Model
from diptych_api.rules import rule
from diptych_api.sources import SecretKey

Requests = Annotated[int, Field(ge=1, le=10**9)]
Seconds = Annotated[int, Field(ge=1, le=10**9)]
WorkUnits = Annotated[float, Field(gt=0, le=1e9)]
CIDR = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$", max_length=49)]


LARGEST_QUEUE: Final = 100_000


class Limits(Model):
    """Bounds of one request. A work unit is one row, one step, 512 × 512 pixels."""

    max_pixels: int = Field(
        default=1_048_576, ge=64, le=16_777_216, description="Pixels of a picture: width times height."
    )
    min_side: int = Field(default=64, ge=8, le=2048, multiple_of=8, description="Shortest side in pixels.")
    max_side: int = Field(default=1024, ge=64, le=4096, multiple_of=8, description="Longest side in pixels.")
    max_steps: int = Field(default=150, ge=1, le=1000, description="Sampling steps.")
    max_images: int = Field(default=8, ge=1, le=64, description="Pictures of one request.")
    max_arms: int = Field(default=8, ge=1, le=8, description="Adapters side by side in one compare.")
    max_prompt_characters: int = Field(default=2000, ge=1, le=20_000, description="Length of a prompt in characters.")
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 28, description="Size of a request in bytes.")
    max_work_units: WorkUnits = Field(default=1000, description="Work of one request in work units.")
    max_queue: int = Field(default=64, ge=0, le=LARGEST_QUEUE, description="Requests that may wait for each replica.")
    max_queued_work_units: WorkUnits = Field(default=4000, description="Work that may wait for each replica.")
    request_timeout_seconds: int = Field(default=600, ge=1, le=86_400, description="Seconds that a request may take.")
    queue_timeout_seconds: int = Field(default=300, ge=1, le=86_400, description="Seconds that a request may wait.")
    drain_timeout_seconds: int = Field(
        default=120, ge=0, le=3600, description="Seconds that a leaving replica has to finish its pictures."
    )

    @rule("minSide may not be above maxSide", cel="self.minSide <= self.maxSide", field="minSide")
    def _sides_in_order(self) -> bool:
        return self.min_side <= self.max_side


class SessionLimit(Model):
    """Limits of one session."""

    max_requests: Requests | None = Field(default=None, description="Pictures of a session; no limit when unset.")
    max_age_seconds: Seconds | None = Field(default=None, description="Age in seconds at which a session is refused.")
    ttl_seconds: Seconds = Field(default=1800, description="A session that is quiet for so many seconds is forgotten.")
    max_sessions: int = Field(default=2000, ge=1, le=10**6, description="Sessions remembered; the oldest goes first.")


class ClientLimit(Model):
    """Limits of one address."""

    max_requests_per_hour: Requests | None = Field(default=None, description="Requests in an hour.")
    max_requests_per_day: Requests | None = Field(default=None, description="Requests in a day.")
    max_active_seconds_per_day: Seconds | None = Field(default=None, description="Seconds of drawing in a day.")


class GlobalLimit(Model):
    """Limits of all clients together."""

    max_requests_per_hour: Requests | None = Field(default=None, description="Requests in an hour.")
    max_requests_per_day: Requests | None = Field(default=None, description="Requests in a day.")
    max_requests_per_month: Requests | None = Field(default=None, description="Requests in a month.")
    max_active_seconds_per_day: Seconds | None = Field(default=None, description="Seconds of drawing in a day.")


class Cost(Model):
    """A budget in money."""

    per_second: float = Field(
        default=0.0005, ge=0, le=1000, description="Price of a second of drawing, in your currency."
    )
    daily_limit: float | None = Field(default=None, gt=0, le=1e9, description="Budget of a day, in your currency.")
    monthly_limit: float | None = Field(default=None, gt=0, le=1e9, description="Budget of a month, in your currency.")


class WorkRate(Model):
    """Work units that may be used in a minute, as token buckets."""

    per_session: WorkUnits | None = Field(default=None, description="Work units a minute of one session.")
    per_ip: WorkUnits | None = Field(default=None, description="Work units a minute of one address.")
    per_key: WorkUnits | None = Field(default=None, description="Work units a minute of one API key.")
    total: WorkUnits | None = Field(default=None, description="Work units a minute of all clients together.")


class RateLimit(Model):
    """How often clients may ask. Whatever is unset has no limit. Shared by all replicas and both protocols."""

    session: SessionLimit = Field(default=SessionLimit(), description="Limits of a session.")
    ip: ClientLimit = Field(default=ClientLimit(), description="Limits of an address.")
    total: GlobalLimit = Field(default=GlobalLimit(), description="Limits of all clients together.")
    cost: Cost = Field(default=Cost(), description="Budget in money.")
    work: WorkRate = Field(default=WorkRate(), description="Work units in a minute.")
    store: Location | None = Field(
        default=None, description="Where day and month budgets survive a restart: a folder or redis://."
    )
    store_password: SecretKey | None = Field(default=None, description="Password of the store.")


class Auth(Model):
    """Who may ask."""

    api_keys: SecretKey | None = Field(
        default=None, description="JSON list of {name, sha256, scopes}; anybody may ask when unset."
    )
    admin_routes: bool = Field(
        default=False, description="Let keys with scope admin load and unload adapters over /v1/adapters."
    )

    @rule("adminRoutes needs apiKeys", cel="!self.adminRoutes || has(self.apiKeys)", field="adminRoutes")
    def _admins_have_keys(self) -> bool:
        return not self.admin_routes or self.api_keys is not None


class Safety(Model):
    """What happens to pictures that a checker flags."""

    enabled: bool = Field(default=True, description="Use the base's own checker when it has one.")
    replacement: str = Field(
        default="#282828", pattern=r"^#[0-9a-fA-F]{6}$", max_length=7, description="Colour of the tile shown instead."
    )
