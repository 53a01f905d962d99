"""AWS on this machine: moto's server, one request at a time.

    python tests/servers/aws.py PORT

DynamoDB's conditional writes are atomic. Moto's own server answers in threads that check and write without a
lock, so two writers can both be told that they have won.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

answers: Any = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    with turn:
        return list(answers(environ, start_response))


logging.getLogger("werkzeug").setLevel(logging.ERROR)
WSGIRequestHandler.protocol_version = "HTTP/1.1"  # Connections are kept.
run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
