"""Freed memory stays with the process while it trains, and no longer."""

import sys

import pytest
from started import Started

STEPS = """
import resource, sys
from contextlib import nullcontext
import psutil, torch
from protemb.training.memory import freed_memory_kept

def step():
    # As a step of a network: much is made, then all of it let go.
    parts = [torch.ones(2**20) for _ in range(25)]
    parts.append(torch.ones(2**25))

def pages(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_memory_kept() if sys.argv[1] == "kept" else nullcontext():
    pages(3)
    found = pages(5)
    held = psutil.Process().memory_info().rss
print(found, held - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_a_step_asks_for_no_page_again_and_all_is_given_back():
    (pages, _), (kept_pages, given_back) = (
        map(int, Started("-c", STEPS, how).communicate()[0].split()) for how in ("plain", "kept")
    )
    assert pages > 10 * kept_pages
    # A step holds 25 parts of 4 MB and one of 128 MB.
    assert given_back > 0.8 * (25 * 2**22 + 2**27)
