"""The HTTP API: `asgi` serves it, alone or mounted in another application; `zart.http.client` speaks it.

Serving needs the extra `server`, speaking the extra `client`; whoever has only the latter finds only that here.
"""

from zart.extras import lacking

try:
    from zart.http.access import AccessRules, Caller
    from zart.http.application import Api, asgi, lifespan
    from zart.http.endpoints import Access
    from zart.http.limits import Limits
except ModuleNotFoundError as _absent:
    if str(_absent.name).partition(".")[0] not in {"anyio", "sse_starlette", "starlette"}:
        raise
    # Not defined with `def`: type checkers know what there is.
    globals()["__getattr__"] = lacking(
        __name__, dict.fromkeys(("Access", "AccessRules", "Api", "Caller", "Limits", "asgi", "lifespan"), "server")
    )

__all__ = ["Access", "AccessRules", "Api", "Caller", "Limits", "asgi", "lifespan"]
