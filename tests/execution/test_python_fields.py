"""Fields with functions of their own keep working: the proof is in `python_fields.py`, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.house import tree


def test_fields_with_functions_are_planned_called_at_once_and_answered_as_by_the_library():
    command = [sys.executable, "-m", "pytest", "tests/execution/python_fields.py", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
