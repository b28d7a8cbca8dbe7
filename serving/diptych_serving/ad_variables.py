"""The environment variables of Astro-Diffusion, so that its users keep theirs: each stands for one limit."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from diptych_api.errors import SpecInvalid
from diptych_api.limits import RateLimit

FIELDS: Final = {
    "AD_SESSION_MAX_REQ": ("session", "max_requests"),
    "AD_SESSION_MAX_AGE_SEC": ("session", "max_age_seconds"),
    "AD_IP_MAX_REQ_HOUR": ("ip", "max_requests_per_hour"),
    "AD_IP_MAX_REQ_DAY": ("ip", "max_requests_per_day"),
    "AD_IP_MAX_ACTIVE_SEC_DAY": ("ip", "max_active_seconds_per_day"),
    "AD_GLOBAL_MAX_REQ_HOUR": ("total", "max_requests_per_hour"),
    "AD_GLOBAL_MAX_REQ_DAY": ("total", "max_requests_per_day"),
    "AD_GLOBAL_MAX_REQ_MONTH": ("total", "max_requests_per_month"),
    "AD_GLOBAL_MAX_ACTIVE_SEC_DAY": ("total", "max_active_seconds_per_day"),
    "AD_COST_PER_SEC": ("cost", "per_second"),
    "AD_DAILY_COST_LIMIT": ("cost", "daily_limit"),
    "AD_MONTHLY_COST_LIMIT": ("cost", "monthly_limit"),
}


def with_variables(limits: RateLimit, environment: Mapping[str, str]) -> RateLimit:
    """Return the limits with those in its place that the environment names. Raises SpecInvalid naming the variable."""
    values: dict[str, Any] = limits.model_dump()
    for name, (part, field) in FIELDS.items():
        if name in environment:
            values[part][field] = environment[name]
            try:
                RateLimit.model_validate({part: {field: environment[name]}})
            except ValidationError as error:
                message = f"{name}={environment[name]}: {error.errors()[0]['msg']}."
                raise SpecInvalid(message, hint="Set a number, or unset the variable.") from error
    return RateLimit.model_validate(values)


def limits_told(environment: Mapping[str, str]) -> list[str]:
    """Return one sentence for each limit that comes from a variable."""
    return [
        f"{name}={environment[name]} sets spec.rateLimit.{part}.{to_camel(field)}."
        for name, (part, field) in FIELDS.items()
        if name in environment
    ]


def overrides_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set other fields of a spec than limits, as overrides of it."""
    found = {"PORT": "endpoints.http.port", "AD_LOG_LEVEL": "logLevel"}
    return {name: f"{field}={environment[name].upper()}" for name, field in found.items() if name in environment}
