"""`python -m diptych_operator`: watch until SIGTERM. Settings are environment variables, see settings.py."""

import asyncio
import os
import signal
import sys

from diptych_api.errors import DiptychError
from diptych_api.names import PRODUCT
from diptych_operator.logs import configure_logs
from diptych_operator.program import run
from diptych_operator.settings import Settings, read_settings


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()

    def listen() -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)

    listen()
    return 0 if await run(settings, stop, listen=listen) else 1


def main() -> int:
    """Run the operator; return the exit code: 0 when told to stop, 1 when it must be started again, 2 for a mistake."""
    try:
        settings = read_settings(os.environ)
        os.environ.setdefault("USER", PRODUCT)  # kopf asks for the user's name, and a pod's number has none
        configure_logs(settings.log_level, settings.log_format)
        return asyncio.run(_run(settings))
    except DiptychError as error:
        hint = error.hint or "The log above and `kubectl describe` of the operator's pod tell more."
        sys.stderr.write(f"error: {error.message}\nhint:  {hint}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
