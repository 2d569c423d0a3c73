"""A pool of simulated engines on devices that are not there:  python -m tests.simulated_pool 3"""

from __future__ import annotations

import sys

from ocr_tasks.logs import configure_logs
from ocr_tasks.settings import get_settings
from workers.launch import run_pool


def main() -> None:
    """Keep so many nodes running until told to stop."""
    devices = [f"GPU-{number}" for number in range(int(sys.argv[1]))]
    configure_logs(get_settings(), worker="pool")
    sys.exit(run_pool(get_settings(), devices=lambda: devices, command=[sys.executable, "-m", "tests.simulated"]))


if __name__ == "__main__":
    main()
