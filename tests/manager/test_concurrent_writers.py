"""Writers that share a manager or a file: no list is ever invalid, and nothing is lost."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from random import Random

from tests.change_log import Replay, assert_consistent
from tests.change_stream import MAX_ENTRIES, change_something, open_manager
from tests.warm_starts import Program


def test_threads_that_share_a_manager_keep_it_consistent(store_url: str) -> None:
    with open_manager(store_url) as manager:

        def work(thread: int) -> None:
            rng = Random(thread)
            for number in range(60):
                change_something(manager, rng, f"{thread}-{number}")

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        replay = Replay(MAX_ENTRIES)
        assert_consistent(manager, replay)
        assert {actor.partition("-")[0] for actor, _ in replay.left_behind} == {"0", "1", "2", "3"}


def test_processes_that_share_a_file_never_make_an_invalid_list(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lists.db"
    root = Path(__file__).parents[2]
    writers = [
        Program([sys.executable, "-m", "tests.change_stream", url, f"w{number}", str(number), "200"], cwd=root)
        for number in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    replay = Replay(MAX_ENTRIES)
    with open_manager(url) as manager:
        assert_consistent(manager, replay)
    assert {actor.partition("-")[0] for actor, _ in replay.left_behind} == {"w0", "w1", "w2"}
