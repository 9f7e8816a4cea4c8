"""Routes that change something; each change is in the audit log under the token's name, with its reason."""

from ztmon.gateway.routes import Route

ROUTES: tuple[Route, ...] = ()
