"""Laws of blocks on threads: order, gradients as they are switched, errors as they come."""

from collections.abc import Iterator

import pytest
import torch

from bayesden.infer.threads import each, use_threads


@pytest.fixture(autouse=True, params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    use_threads(request.param)
    yield request.param
    use_threads(1)


def test_results_come_in_the_order_of_the_blocks() -> None:
    assert each(lambda x: x * x, iter(range(20))) == [x * x for x in range(20)]
    assert each(lambda x: x, []) == []


@pytest.mark.parametrize("wanted", [True, False])
def test_gradients_are_on_in_a_block_where_they_are_outside(wanted: bool) -> None:
    with torch.set_grad_enabled(wanted):
        assert each(lambda _: torch.is_grad_enabled(), range(4)) == [wanted] * 4


def test_the_first_error_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        each(lambda x: 1 / x, [2, 1, 0])
