"""Pages that are the same for everybody who is not signed in: made once in a while, for all who ask meanwhile."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from starlette.responses import Response

from passerelle.web.visit import Visit

KEPT_S = 5.0
"""As long as the answers that they are made from (`service.PUBLIC_KEPT_S`): together, a page is ten seconds old at
most."""
KEPT_MAX = 64
"""Some 4 MB: the register in both languages and all themes, and what people search for."""
QUERY_CHARS_MAX = 200
"""A longer address is nobody else's."""

OK = 200


class SharedPages:
    """Of one site."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, tuple[float, Response]] = OrderedDict()

    async def page(self, visit: Visit, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the page of this address, language and theme, as it was made a moment ago or as ``make`` makes it.

        Whoever is signed in gets their own. ``make`` must look at nothing else of the visit.
        """
        url = visit.request.url
        if visit.session is not None or len(url.query) > QUERY_CHARS_MAX:
            return await make()
        key = visit.language, visit.theme, url.path, url.query
        held = self._held.get(key)
        if held is None or time.monotonic() - held[0] >= KEPT_S:
            held = time.monotonic(), await make()
            if held[1].status_code == OK:
                self._held[key] = held
                self._held.move_to_end(key)
            while len(self._held) > KEPT_MAX:
                self._held.popitem(last=False)
        made = held[1]
        # Each its own: what is around the routes writes on an answer's headers.
        return Response(made.body, headers=dict(made.headers), status_code=made.status_code)
