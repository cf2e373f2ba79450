"""What is set into PyTorch while a training is watched, and taken away again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from sweeper.check.training.survey import Survey


class Losses(TorchFunctionMode):
    def __init__(self, survey: Survey) -> None:
        super().__init__()
        self.survey = survey

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.survey.called(func, args, kwargs or {})


@contextlib.contextmanager
def surveyed(survey: Survey) -> Iterator[None]:
    """Every module and every loss of this process is the survey's business; steps are `ramp.watched`'s."""
    load = nn.Module.load_state_dict

    def loaded(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        survey.loaded = True
        return load(self, *args, **kwargs)

    before = register_module_forward_pre_hook(lambda module, args: survey.entering(module))
    after = register_module_forward_hook(
        lambda module, args, kwargs, output: survey.left(module, args, kwargs, output),
        with_kwargs=True,
        always_call=True,
    )
    nn.Module.load_state_dict = loaded  # type: ignore[method-assign]
    try:
        with Losses(survey):
            yield
    finally:
        nn.Module.load_state_dict = load  # type: ignore[method-assign]
        before.remove()
        after.remove()
