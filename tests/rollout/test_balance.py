"""Where a call goes, when an endpoint is left alone, and how its bound moves: pure decisions."""

from dataclasses import replace

from rollout.balance import Breaker, Pace, Standing, choose
from rollout.capacity import Bounds, EngineLoad, adjust, read_metrics

A = Standing("a", seconds=1.0, in_flight=8, waiting=0, slots=16)
B = replace(A, url="b")


def test_a_rollout_stays_where_its_prefix_cache_is() -> None:
    assert choose([A, B], "b", 1.5) == "b"
    assert choose([A, replace(B, in_flight=12)], "b", 1.5) == "b"


def test_a_clearly_busier_endpoint_is_left() -> None:
    assert choose([A, replace(B, in_flight=16, waiting=16)], "b", 1.5) == "a"


def test_a_full_engine_is_not_left_for_one_that_is_as_full() -> None:
    full = [replace(s, in_flight=16, waiting=20) for s in (A, B)]
    assert choose(full, "b", 1.5) == "b"


def test_a_slow_endpoint_is_left_though_the_others_are_full() -> None:
    slow = replace(B, seconds=5.0)
    assert choose([replace(A, in_flight=16, waiting=4), slow], "b", 1.5) == "a"


def test_an_unwell_endpoint_is_left_and_a_failing_one_avoided() -> None:
    assert choose([A, replace(B, available=False)], "b", 1.5) == "a"
    assert choose([A, replace(B, failures=1)], "b", 1.5) == "a"
    assert choose([replace(A, available=False)], "a", 1.5) is None


def test_a_new_rollout_goes_where_there_is_most_room() -> None:
    assert choose([A, replace(B, in_flight=7)], None, 1.5) == "b"
    assert choose([A, replace(B, slots=32)], None, 1.5) == "b"
    assert choose([A, B], "gone", 1.5) == "a"


def test_few_calls_say_little_about_pace() -> None:
    once, often = Pace().after(10.0), Pace()
    for _ in range(100):
        often = often.after(10.0)
    assert once.estimate(1.0) == 2.0
    assert often.estimate(1.0) > 7.5
    assert Pace().estimate(3.0) == 3.0


def test_a_breaker_opens_after_failures_in_a_row_and_each_time_for_longer() -> None:
    breaker = Breaker(threshold=2, cooldown=5.0, longest=12.0)
    one = breaker.failed(began=0, now=1)
    assert one.admits(1, trying=9)
    two = one.failed(began=0, now=2)
    assert (two.until, two.admits(6.9, 0), two.admits(7, 0), two.admits(7, 1)) == (7, False, True, False)
    again = two.failed(began=7, now=8)
    assert again.until == 18
    assert again.failed(began=19, now=20).until == 32, "bounded by `longest`"
    assert again.succeeded() == breaker


def test_calls_that_began_before_a_breaker_opened_do_not_open_it_again() -> None:
    opened = Breaker(threshold=1).failed(began=0, now=10)
    assert opened.failed(began=9, now=11) == opened
    assert opened.failed(began=10, now=11) != opened


def load(kv: float, waiting: float = 0, at: float = 100) -> EngineLoad:
    return EngineLoad(running=16, waiting=waiting, kv=kv, at=at)


def test_a_bound_grows_while_the_cache_has_room_and_the_slots_are_used() -> None:
    assert adjust(16, 16, load(0.3), now=101) == 21
    assert adjust(16, 3, load(0.3), now=101) == 16, "unused slots prove nothing"
    assert adjust(16, 16, load(0.3), now=101, bounds=Bounds(most=18)) == 18
    assert adjust(64, 64, load(0.3), now=101, bounds=Bounds(most=32)) == 64, "a larger bound that was set stands"


def test_a_bound_is_trimmed_when_the_cache_is_full_or_a_queue_builds_up() -> None:
    assert adjust(20, 20, load(0.95), now=101) == 17
    assert adjust(20, 20, load(0.3, waiting=5), now=101) == 17
    assert adjust(4.2, 4, load(0.95), now=101) == 4
    assert adjust(2, 2, load(0.95), now=101) == 2, "a smaller bound that was set stands"


def test_a_bound_holds_between_the_marks_and_when_figures_are_stale() -> None:
    assert adjust(16, 16, load(0.85), now=101) == 16
    assert adjust(16, 16, load(0.1), now=200) == 16
    assert adjust(16, 16, load(0.99), now=200) == 16
    assert adjust(16, 16, None, now=200) == 16


PAGE = """# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 5e-1
"""


def test_vllms_figures_are_read() -> None:
    assert read_metrics(PAGE, at=7) == EngineLoad(running=7, waiting=1, kv=0.5, at=7)
    assert read_metrics("process_cpu_seconds_total 3\n<html>", at=7) is None
