"""One thread does what is handed over, in order, and nothing behind a failure."""

import threading
import time
import traceback
import weakref
from functools import partial

import pytest

from diffeval.committer import Committer, Piece
from diffeval.errors import DiffevalError

SECONDS = 60


def _refuse() -> None:
    raise DiffevalError("cannot write x: No space left on device; free the disk or choose --out")


def _hold(gate: threading.Event) -> None:
    assert gate.wait(SECONDS)


def _let_go_soon(gate: threading.Event) -> None:
    threading.Timer(0.1, gate.set).start()


def _commit(committer: Committer, *pieces: Piece, error: BaseException | None = None) -> None:
    """Hands over pieces, and then ends, with an error if there is one."""
    with committer:
        for piece in pieces:
            committer.submit(piece)
        if error is not None:
            raise error


def _committers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "diffeval-committer"]


def test_pieces_are_done_in_order_by_another_thread() -> None:
    done, where = list[int](), set[int]()
    with Committer(3) as committer:
        for number in range(50):
            committer.submit(partial(done.append, number))
        committer.submit(lambda: where.add(threading.get_ident()))
        committer.flush()
        assert done == list(range(50))
        committer.submit(partial(done.append, 50))
    assert done == list(range(51))
    assert where
    assert threading.get_ident() not in where
    assert not _committers()


def test_what_waits_is_bounded() -> None:
    """Two wait while one is done; who hands over one more waits, too."""
    gate, begun = threading.Event(), threading.Event()
    handed, done = list[int](), list[int]()

    def first() -> None:
        begun.set()
        _hold(gate)

    def hand_over() -> None:
        for number in range(5):
            committer.submit(partial(done.append, number))
            handed.append(number)

    with Committer(2) as committer:
        committer.submit(first)
        assert begun.wait(SECONDS)
        other = threading.Thread(target=hand_over)
        other.start()
        until = time.monotonic() + SECONDS
        while len(handed) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        other.join(0.2)
        assert other.is_alive()
        assert handed == [0, 1]
        assert not done
        gate.set()
        other.join(SECONDS)
        committer.flush()
        assert done == list(range(5))


def test_nothing_is_done_behind_a_failure_and_its_traceback_is_kept() -> None:
    done = list[str]()
    pieces = (partial(done.append, "before"), _refuse, partial(done.append, "behind"))
    with pytest.raises(DiffevalError, match=r"^cannot write x: No space") as caught:
        _commit(Committer(5), *pieces)
    assert done == ["before"]
    assert "_refuse" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not _committers()


def test_a_failure_reaches_who_hands_over_the_next_piece() -> None:
    """One may have been handed over before it failed, and no more than that."""
    handed = list[int]()

    def hand_over() -> None:
        with Committer(1) as committer:
            committer.submit(_refuse)
            for number in range(1000):
                committer.submit(lambda: None)
                handed.append(number)

    with pytest.raises(DiffevalError, match="No space"):
        hand_over()
    assert len(handed) <= 1


def test_flush_raises_what_failed() -> None:
    def flush() -> None:
        with Committer(5) as committer:
            committer.submit(_refuse)
            committer.flush()
            pytest.fail("nobody has heard of the failure")

    with pytest.raises(DiffevalError, match="No space"):
        flush()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DiffevalError("image 3 is NaN")])
def test_what_waits_is_done_whatever_ends_the_block(error: BaseException) -> None:
    gate, done = threading.Event(), list[int]()
    _let_go_soon(gate)
    with pytest.raises(type(error)) as caught:
        _commit(Committer(5), partial(_hold, gate), partial(done.append, 1), error=error)
    assert caught.value is error
    assert done == [1]
    assert not _committers()


def test_what_ends_the_block_is_not_hidden_by_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt):
        _commit(Committer(5), lambda: time.sleep(0.1), _refuse, error=KeyboardInterrupt())


def test_one_more_interrupt_waits_for_the_piece_at_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun, done = threading.Event(), threading.Event(), list[int]()
    committer = Committer(5)
    original = committer._end

    def first() -> None:
        begun.set()
        _hold(gate)
        done.append(0)

    def interrupted() -> None:
        assert begun.wait(SECONDS)
        monkeypatch.setattr(committer, "_end", original)
        _let_go_soon(gate)
        raise KeyboardInterrupt

    monkeypatch.setattr(committer, "_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _commit(committer, first, partial(done.append, 1))
    assert done == [0]
    assert not _committers()


def test_pieces_that_were_done_hold_no_memory() -> None:
    """Not even the last one, while the thread waits for another."""

    class Chunk:
        def commit(self) -> None:
            pass

    with Committer(5) as committer:
        chunk = Chunk()
        known = weakref.ref(chunk)
        committer.submit(chunk.commit)
        committer.flush()
        del chunk
        assert known() is None
