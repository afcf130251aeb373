"""The engine's status, in the classes of the older Axion."""

import enum
from dataclasses import dataclass


class Health(enum.Enum):
    """The state of the engine or of one component."""

    HEALTHY = "healthy"
    STARTING = "starting"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class ComponentStatus:
    """One component of the engine: `name`, `health`, `metrics`, and in `why` the reason if it is not healthy."""

    name: str
    health: Health
    why: object
    metrics: dict

    @classmethod
    def of(cls, found):
        return cls(found["name"], Health(found["health"]), found.get("why"), found["metrics"])


@dataclass(frozen=True)
class HealthReport:
    """All components: the worst health as `overall_health`, and how many are healthy."""

    overall_health: Health
    healthy_count: int
    unhealthy_count: int
    components: dict
