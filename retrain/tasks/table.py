"""The tasks by name: one object for each. Pure."""

from __future__ import annotations

from retrain.contract import TaskName
from retrain.tasks.binary import BINARY
from retrain.tasks.regression import REGRESSION
from retrain.tasks.task import Task

TASKS: dict[TaskName, Task] = {task.name: task for task in (BINARY, REGRESSION)}
