"""The app: explanations in a browser, from a server on this machine."""

from .server import make_app
from .serving import serve

__all__ = ["make_app", "serve"]
