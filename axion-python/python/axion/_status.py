"""What the engine says of itself, in the shapes of the older Axion."""

import enum
from dataclasses import dataclass


class Health(enum.Enum):
    """How well something is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class ComponentStatus:
    """One part of the engine: its `name`, its `health`, the reason if that is not good, and its `metrics`."""

    name: str
    health: Health
    why: object
    metrics: dict

    @classmethod
    def of(cls, found):
        return cls(found["name"], Health(found["health"]), found.get("why"), found["metrics"])


@dataclass(frozen=True)
class HealthReport:
    """All parts together: the worst `overall_health`, and how many are well."""

    overall_health: Health
    healthy_count: int
    unhealthy_count: int
    components: dict
