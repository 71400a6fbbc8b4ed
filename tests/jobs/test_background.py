import os
import signal
import threading
import time

import pytest

from dgafvsr.jobs.background import WriteBehind, read_ahead


def failing(count):
    yield from range(count)
    raise OSError("torn")


def test_items_come_in_order_and_no_more_are_made_than_asked_for():
    made = []

    def items():
        for item in range(20):
            made.append(item)
            yield item

    for taken, item in enumerate(read_ahead(items(), 3)):
        assert item == taken
        assert len(made) <= taken + 1 + 3 + 1
    assert taken == 19


def test_items_are_made_on_one_other_thread():
    threads = set(read_ahead((threading.get_ident() for _ in range(9)), 4))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_error_comes_where_its_item_would_have():
    items = read_ahead(failing(5), 8)
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="torn"):
        next(items)


def test_closing_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    items = read_ahead(endless(), 2)
    assert next(items) == 0
    items.close()
    assert closed.wait(10)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_everything_is_written_in_order_before_the_context_ends():
    written = []
    with WriteBehind(lambda item: time.sleep(0.001 * (item % 3)) or written.append(item)) as writer:
        for item in range(12):
            writer.put(item)
    assert written == list(range(12))


def test_one_item_is_written_while_the_next_is_made_and_no_more():
    started, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def write(item):
        started.release()
        assert go_on.acquire(timeout=10)

    with WriteBehind(write) as writer:
        writer.put(0)
        assert started.acquire(timeout=10)  # put has returned while 0 is being written
        late = threading.Thread(target=writer.put, args=(1,))
        late.start()
        late.join(0.05)
        assert late.is_alive()
        go_on.release()
        late.join(10)
        go_on.release()


def test_error_of_writing_comes_with_the_next_item():
    def write(item):
        raise OSError(f"full at {item}")

    with WriteBehind(write) as writer:
        writer.put(0)
        with pytest.raises(OSError, match="full at 0"):
            writer.put(1)


def test_error_of_the_last_item_comes_when_the_context_ends():
    with (
        pytest.raises(OSError, match="full"),
        WriteBehind(lambda item: (_ for _ in ()).throw(OSError("full"))) as writer,
    ):
        writer.put(0)


def test_what_was_handed_over_is_written_when_the_maker_fails():
    written = []

    def make():
        with WriteBehind(lambda item: time.sleep(0.02) or written.append(item)) as writer:
            writer.put(0)
            raise KeyError

    with pytest.raises(KeyError):
        make()
    assert written == [0]


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: processes that were started in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_end_of_the_process_gives_the_item_up():
    """Such as a second SIGTERM, which leaves by SystemExit."""
    ended = []

    def write(item):
        stop = time.monotonic() + 10
        while not writer.given_up and time.monotonic() < stop:
            time.sleep(0.001)
        ended.append(writer.given_up)

    writer = WriteBehind(write)

    def leave():
        with writer:
            writer.put(0)
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        leave()
    assert ended == [True]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("seconds", [0, 30])
def test_interrupt_gives_the_item_up(seconds):
    """A second Ctrl-C, in the work or in the wait for what is being written."""
    ended = []

    def write(item):
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        stop = time.monotonic() + 10
        while not writer.given_up and time.monotonic() < stop:
            time.sleep(0.001)
        ended.append(writer.given_up)

    def work():
        with writer:
            writer.put(0)
            time.sleep(seconds)

    writer = WriteBehind(write)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert ended == [True]
