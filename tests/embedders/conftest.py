from __future__ import annotations

import sys

# There is no onnxruntime for newer interpreters yet, and pyproject.toml asks for none.
collect_ignore = ["test_local.py"] if sys.version_info >= (3, 15) else []
