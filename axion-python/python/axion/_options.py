"""The options of tasks, for the native engine."""

import datetime
import difflib
import inspect
import re

from . import _axion
from .errors import ConfigError


def make_options(**options):
    """The native options.

    Raises:
        TypeError: there is no such option, or it takes no such type.
        ConfigError: it takes no such value.
    """
    if options.get("eta") is not None:
        options["eta"] = _text_of(options["eta"])
    try:
        return _axion.Options(**options)
    except ValueError as error:
        raise ConfigError(str(error), "config") from None
    except TypeError as error:
        notes = getattr(error, "__notes__", ())  # they name the option
        raise TypeError("; ".join([_words(str(error)), *notes])) from None


def _text_of(eta):
    """A time in the format of RFC 3339. One without a time zone is local, as for `datetime` itself."""
    if not isinstance(eta, datetime.datetime):
        raise TypeError("`eta` is a datetime.datetime, not %r" % (eta,))
    return eta.astimezone(datetime.timezone.utc).isoformat()


def pool_options(kind, pool):
    """The options that choose a pool by its name."""
    if kind is not None:
        raise ConfigError("`kind` and `pool` both choose the pool: give one of them", "config")
    return {"pool": pool}


def _words(text):
    """The words of the native class, in terms of what the caller wrote."""
    unknown = re.search(r"unexpected keyword argument '(\w+)'", text)
    if unknown is None:
        return text.replace("Options.__new__()", "options()")
    near = difflib.get_close_matches(unknown.group(1), inspect.signature(_axion.Options).parameters, 1)
    advice = ": did you mean %r?" % near[0] if near else ""
    return "options() got an unexpected keyword argument %r%s" % (unknown.group(1), advice)
