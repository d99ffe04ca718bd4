"""How objects show themselves, in a shell and in a notebook."""

import html
from typing import Any

__all__ = ["Shown"]


class Shown:
    """Object that is shown as its name and a few of its settings."""

    def _shown(self) -> dict[str, Any]:
        """Give settings by name; None and empty ones are left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = {name: str(it) for name, it in self._shown().items() if it is not None}
        shown = {name: it for name, it in shown.items() if it}
        width = max(map(len, shown), default=0)
        lines = [f"  {name:<{width}} : {it}" for name, it in shown.items()]
        return "\n".join([type(self).__name__, *lines])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"
