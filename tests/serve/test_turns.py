import threading
import time

from pollice.serve.turns import Turns
from serving import until


def test_who_waits_is_next_though_another_wants_its_turn_back_at_once() -> None:
    turns = Turns(1)
    order: list[str] = []
    begun = threading.Event()

    def take() -> None:
        begun.set()
        with turns:
            order.append("who waits")

    waiting = threading.Thread(target=take)
    with turns:
        waiting.start()
        begun.wait()
        time.sleep(0.2)  # between the event and the turn there is only one line
    with turns:
        order.append("who had it")
    waiting.join()
    assert order == ["who waits", "who had it"]


def test_only_so_many_work_at_once() -> None:
    turns = Turns(2)
    inside: list[int] = []
    gate = threading.Event()

    def work(number: int) -> None:
        with turns:
            inside.append(number)
            gate.wait(20)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == 2)
    assert len(inside) == 2
    gate.set()
    for thread in threads:
        thread.join()
    assert sorted(inside) == [0, 1, 2, 3, 4]
