"""The HTTP API: `asgi` serves it, alone or mounted in another application; `zart.http.client` speaks it.

Serving needs the extra `server`, speaking the extra `client`; whoever has only the latter finds only that here.
"""

try:
    from zart.http.access import AccessRules, Caller
    from zart.http.application import Api, asgi, lifespan
    from zart.http.endpoints import Access
    from zart.http.limits import Limits
except ModuleNotFoundError as _absent:
    if _absent.name not in {"starlette", "sse_starlette"}:
        raise

__all__ = ["Access", "AccessRules", "Api", "Caller", "Limits", "asgi", "lifespan"]
