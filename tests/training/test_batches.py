import pytest
import torch

from sweeper.training.batches import Batches
from sweeper.training.data import Examples
from sweeper.words.errors import ConfigError

EXAMPLES = Examples(torch.arange(10, dtype=torch.float32).unsqueeze(1), torch.arange(10))


def order(batches: Batches) -> list[int]:
    return torch.cat([targets for _, targets in batches]).tolist()


def test_an_epoch_sees_every_example_once():
    batches = Batches(EXAMPLES, batch_size=4, seed=0)
    assert [len(targets) for _, targets in batches] == [4, 4, 2]
    assert len(batches) == 3
    assert sorted(order(batches)) == list(range(10))


def test_inputs_and_targets_stay_together():
    assert all(inputs.flatten().tolist() == targets.tolist() for inputs, targets in Batches(EXAMPLES, 3, seed=0))


def test_each_epoch_has_its_own_order_and_the_seed_fixes_them():
    first, again = Batches(EXAMPLES, 4, seed=5), Batches(EXAMPLES, 4, seed=5)
    epochs = [order(first) for _ in range(3)]
    assert epochs == [order(again) for _ in range(3)]
    assert epochs[0] != epochs[1]


def test_the_generators_state_restores_the_order():
    batches, resumed = Batches(EXAMPLES, 4, seed=5), Batches(EXAMPLES, 4, seed=99)
    order(batches)
    resumed.generator.set_state(batches.generator.get_state())
    assert order(resumed) == order(batches)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    order(Batches(EXAMPLES, 4, seed=1))
    assert before.equal(torch.get_rng_state())


def test_a_batch_size_of_0_is_refused():
    with pytest.raises(ConfigError, match=r"batch_size >= 1.*data\.batch_size=0"):
        Batches(EXAMPLES, 0, seed=0)


def test_a_last_batch_of_one_joins_the_one_before_where_two_are_needed():
    assert [len(targets) for _, targets in Batches(EXAMPLES, 3, seed=0, least=2)] == [3, 3, 4]
    assert len(Batches(EXAMPLES, 3, seed=0, least=2)) == 3
    assert [len(targets) for _, targets in Batches(EXAMPLES, 4, seed=0, least=2)] == [4, 4, 2]
    with pytest.raises(ConfigError, match=r"batch_size >= 2.*with batch normalisation.*data\.batch_size=1"):
        Batches(EXAMPLES, 1, seed=0, least=2)


def test_augmentation_draws_from_the_generator_of_the_order():
    def noise(inputs, generator):
        return inputs + torch.rand(inputs.shape, generator=generator)

    def epoch(batches):
        return torch.cat([inputs for inputs, _ in batches])

    batches, resumed = (Batches(EXAMPLES, 4, seed=5, augment=noise) for _ in range(2))
    first = epoch(batches)
    resumed.generator.set_state(batches.generator.get_state())
    second = epoch(batches)
    assert second.equal(epoch(resumed))
    assert not second.sort(dim=0).values.equal(first.sort(dim=0).values)


def test_the_whole_is_every_example_in_its_own_order():
    inputs, targets = Batches(EXAMPLES, 4, seed=0).whole()
    assert inputs.equal(EXAMPLES.inputs)
    assert targets.equal(EXAMPLES.targets)
