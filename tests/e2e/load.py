"""A steady load: requests one after the other, from a thread, and what came of them."""

import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx2


@dataclass
class Load:
    """Clients that ask for pictures, each as soon as it has its last one, for the time of the body."""

    url: str
    adapter: str | None
    clients: int = 1
    steps: int | None = None
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._ask, args=[number]) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: int) -> None:
        with httpx2.Client(base_url=self.url, timeout=120) as http:
            seed = client * 10_000
            while not self._over.is_set():
                seed += 1
                body = {"prompt": "red apple", "seed": seed, "adapter": self.adapter, "steps": self.steps}
                try:
                    answer = http.post("/v1/generate", json=body)
                except httpx2.HTTPError as error:
                    self.failed.append(repr(error))
                    continue
                if answer.is_success:
                    self.answered += 1
                else:
                    self.failed.append(f"{answer.status_code} {answer.text}")
