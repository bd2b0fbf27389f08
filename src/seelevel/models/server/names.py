"""What a server's model is named in a recipe, and which key the server gets."""

from __future__ import annotations

from urllib.parse import urlsplit

from seelevel.errors import InputError
from seelevel.models.base import ApiSettings


def split_name(name: str) -> tuple[str, str]:
    """Address and model. Raises `InputError` for a name without a model, or with a user, password or query."""
    address, _, model = name.partition("#")
    scheme, _, rest = address.partition("://")
    if "@" in rest or "?" in rest:  # before parsing: an invalid address may contain a password too
        raise InputError(
            f"model {scheme}://…: a server's name is stored with every answer, so it must not contain a user, password "
            "or query; put the key into the environment and its variable into api.key"
        )
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not model:
        # After a colon, anything but a port may be a password that a '#' cuts in two.
        shown = address if usable else f"{scheme}://{rest.partition(':')[0]}…"
        raise InputError(f"model {shown}: name a server's model as http://host:port/v1#model")
    return address.rstrip("/"), model


def key_variable(settings: ApiSettings, address: str) -> str:
    """The environment variable with a server's key; '' if it gets none."""
    if isinstance(settings.key, str):
        return settings.key
    return next((name for server, name in settings.key.items() if server.rstrip("/") == address), "")
