"""Who am I: the part of STS that every AWS tool asks first."""

from homeport.services.sts.api import SERVICE

__all__ = ["SERVICE"]
