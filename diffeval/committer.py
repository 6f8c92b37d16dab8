"""What is made is committed by one thread, while the next is made."""

from collections.abc import Callable
from queue import Queue
from threading import Thread
from types import TracebackType

# Something that is to be done with what was made: joined, measured, written.
Piece = Callable[[], None]


class Committer:
    """Does pieces of work in the order in which they are handed over, in one thread of its own.

    Once a piece fails none behind it is done, so that nothing is committed behind a gap; its exception is raised, with
    its own traceback, where the next piece is handed over, or at the end. Whatever ends the block, what waits is done
    before it is left, and the thread has ended then.

    Args:
        most: pieces that may wait while one is done; whoever hands over another waits, too, so that memory is bounded.
    """

    def __init__(self, most: int) -> None:
        self._waiting: Queue[Piece | None] = Queue(max(1, most))
        self._error: BaseException | None = None
        self._abandoned = False
        # A daemon: should even the wait for its end be interrupted, it does not keep the process alive.
        self._thread = Thread(target=self._work, name="diffeval-committer", daemon=True)

    def __enter__(self) -> "Committer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end()
        except KeyboardInterrupt:  # one more Ctrl-C waits for the piece at work alone, which is atomic
            self._abandoned = True
            self._end()
            raise
        if error is None:
            self._check()

    def submit(self, piece: Piece) -> None:
        """Hands over a piece; waits where too many do.

        Raises:
            BaseException: that an earlier piece has raised.
        """
        self._waiting.put(piece)
        self._check()

    def flush(self) -> None:
        """Waits until all that was handed over is done.

        Raises:
            BaseException: that a piece has raised.
        """
        self._waiting.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _end(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (piece := self._waiting.get()) is not None:
            try:
                if self._error is None and not self._abandoned:
                    piece()
            except BaseException as error:  # it is raised again in the thread that hands over
                self._error = error
            finally:
                del piece  # with all that it holds
                self._waiting.task_done()
