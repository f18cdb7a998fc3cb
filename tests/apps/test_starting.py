"""What the machine refuses is one line, wherever it comes from."""

import subprocess
import sys

import pytest

CODE = "from protemb.apps.starting import machine_errors\nwith machine_errors():\n    "
ENDLESS = "[print('line') for _ in range(100_000)]"


def test_a_reader_that_has_seen_enough_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-c", CODE + ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 0)
    process.stderr.close()


@pytest.mark.parametrize("error", ["BrokenPipeError(32, 'Broken pipe')", "OSError(28, 'Full')"])
def test_other_errors_are_one_line(error):
    command = [sys.executable, "-c", f"{CODE}raise {error}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("protemb: [Errno ") and done.stderr.count("\n") == 1
