"""AWS on this machine: moto's server, one request at a time.

    python tests/servers/aws.py PORT

DynamoDB's conditional writes are atomic. Moto's own server answers in threads that check and write without a
lock, so two writers can both be told that they have won.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any

import moto.backends
import moto.core.responses
from moto.core.serialize import ResponseSerializer
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

# Most of a request moto spends on what is the same for each: it lists its folders and its methods, and looks
# for ten members of each value under four names.
moto.backends.list_of_moto_modules = functools.partial(iter, tuple(moto.backends.list_of_moto_modules()))
moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)
SCALARS = frozenset(("S", "N", "BOOL", "NULL"))
serialize_structure = ResponseSerializer._serialize_type_structure


def serialize(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    if key and shape.name == "AttributeValue" and type(value) is dict and value.keys() <= SCALARS:
        self._default_serialize(serialized, value, shape, key)
    else:
        serialize_structure(self, serialized, value, shape, key)


ResponseSerializer._serialize_type_structure = serialize
answers: Any = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    with turn:
        return list(answers(environ, start_response))


logging.getLogger("werkzeug").setLevel(logging.ERROR)
WSGIRequestHandler.protocol_version = "HTTP/1.1"  # Connections are kept.
run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
