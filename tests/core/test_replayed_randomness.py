from __future__ import annotations

import torch

from tupe_plugin.core.replayed_randomness import ReplayedRandomness

CPU = torch.device("cpu")


def test_every_pass_draws_the_same_and_the_stream_goes_on_as_after_one() -> None:
    torch.manual_seed(3)
    plain = [torch.rand(7), torch.rand(7)]
    torch.manual_seed(3)
    randomness = ReplayedRandomness(CPU)
    drawn = []
    for _ in range(3):
        with randomness.replay():
            drawn.append(torch.rand(7))
        torch.testing.assert_close(torch.random.get_rng_state(), _state_after_one())
    assert all(torch.equal(x, plain[0]) for x in drawn)
    assert torch.equal(torch.rand(7), plain[1])


def _state_after_one() -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch.rand(7)
        return torch.random.get_rng_state()


def test_a_later_pass_that_draws_more_leaves_no_trace() -> None:
    torch.manual_seed(3)
    randomness = ReplayedRandomness(CPU)
    for count in (7, 11):
        with randomness.replay():
            torch.rand(count)
    assert torch.equal(torch.random.get_rng_state(), _state_after_one())


def test_the_separate_stream_depends_on_the_start_alone_and_leaves_it() -> None:
    torch.manual_seed(3)
    randomness = ReplayedRandomness(CPU)
    before = torch.random.get_rng_state()
    first = torch.rand(7, generator=randomness.separate_generator())
    assert torch.equal(torch.random.get_rng_state(), before)
    with randomness.replay():
        dropout = torch.rand(7)
    assert torch.equal(torch.rand(7, generator=randomness.separate_generator()), first)
    assert not torch.equal(first, dropout)
    torch.manual_seed(4)
    other = ReplayedRandomness(CPU).separate_generator()
    assert not torch.equal(torch.rand(7, generator=other), first)
