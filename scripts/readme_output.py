"""Puts the demo's real output into README.md, between the mark and the end of its code block."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

readme = Path(__file__).resolve().parents[1] / "README.md"
review = re.search(r"^REVIEW := (.*)$", (readme.parent / "Makefile").read_text("utf-8"), re.M)
assert review is not None
command = [sys.executable, "-m", "pellucid", "explain", review[1]]
shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip("\n")
lines = "\n".join(line.rstrip() for line in shown.splitlines())
page = readme.read_text("utf-8")
block = f"<!-- output -->\n```\n{lines}\n```"
readme.write_text(re.sub(r"<!-- output -->\n```\n.*?```", lambda _: block, page, count=1, flags=re.S), "utf-8")
