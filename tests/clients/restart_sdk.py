"""Follow a job and updates while the server is started anew; each line says what was seen."""

import os
import threading

from s9s_client import Retries, S9SClient

client = S9SClient(os.environ["URL"], os.environ["TOKEN"], retries=Retries(count=300, first_s=0.1, longest_s=1))


def see_updates() -> None:
    """Say that a snapshot has come, twice."""
    snapshots = (update for update in client.updates("queue", snapshot=True) if update.action == "snapshot")
    for _, update in zip(range(2), snapshots, strict=False):
        print(update.action, flush=True)


seeing = threading.Thread(target=see_updates)
seeing.start()
for text in client.jobs.follow(os.environ["JOB"]):
    print(text, end="", flush=True)
print(client.jobs.wait(os.environ["JOB"]).state, flush=True)
seeing.join()
