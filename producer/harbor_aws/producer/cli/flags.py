"""``harbor run``'s own flags as the flags of ``enqueue``, with their names, help and meaning.

They come from the signature of Harbor's ``build_job_config``, so that a flag that Harbor adds is there too. What makes
no sense in a queue is not shown, and refused by name with what to do instead.
"""

from __future__ import annotations

import inspect
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from harbor.cli.config_validation import format_validation_error
from harbor.cli.jobs import build_job_config
from harbor.cli.jobs import console as harbor_console
from harbor.models.environment_type import EnvironmentType
from pydantic import ValidationError
from typer.models import OptionInfo

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.portable import ENVIRONMENT_IMPORT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harbor.models.job.config import JobConfig

_HUB = "it belongs to Harbor's Hub; `harbor-aws fetch` the job and use `harbor upload` on its directory"
_TRACES = "export them from the fetched directory with `harbor traces export`"

REFUSED: Mapping[str, str] = {
    "diff_sources": "comparing with earlier jobs needs their files; use `harbor run` for that",
    "n_concurrent_trials": "how many run at once is workers × slots; use `harbor-aws scale N`",
    "n_concurrent_agents": "it counts within one process; how many run at once is workers × slots",
    "environment_import_path": f"trials run in {ENVIRONMENT_IMPORT_PATH}",
    "environment_force_build": "images are named by their content, so a changed one is built by itself",
    "stream": "there is no machine to stream to; use `harbor-aws status --watch`",
    "override_tpu": "Fargate has no TPUs",
    "mounts": "a pod sees no directory of this machine; put the files into the task",
    "extra_docker_compose": "a trial is one container; docker compose is not supported",
    "env_file": "values would have to travel through the queue; export them here and to the workers",
    "skills": "a worker sees no directory of this machine; put them into the task's image and name its skills_dir",
    "load_trajectory": "a worker sees no file of this machine; put it into the task as trajectory.json",
    "user_persona_path": "a worker sees no file of this machine",
    "user_prompt_template_path": "a worker sees no file of this machine",
    "bridge_prompt_path": "a worker sees no file of this machine",
    "allow_agent_hosts": "nothing here enforces a list of hosts",
    "allow_environment_hosts": "nothing here enforces a list of hosts",
    "job_plugin": "plugins run inside Harbor's own job; run them on the fetched directory",
    "plugin_kwargs": "plugins run inside Harbor's own job; run them on the fetched directory",
    **dict.fromkeys(("export_traces", "export_sharegpt", "export_episodes", "export_push", "export_repo"), _TRACES),
    **dict.fromkeys(("export_instruction_metadata", "export_verifier_metadata"), _TRACES),
    **dict.fromkeys(
        ("upload", "launch", "use_static_ip", "credential_mode", "one_off_secret", "stored_secret", "no_secrets"), _HUB
    ),
    **dict.fromkeys(("registry_credential", "public", "share_org", "share_user", "org"), _HUB),
}
"""Parameters of ``build_job_config`` that are refused, each with what to do instead."""

_HIDDEN = frozenset({"yes", "environment"})
"""Accepted, and of no interest: nothing asks back here, and there is one environment."""

_HELP = {
    "jobs_dir": "Directory that results are fetched to, with --wait or later (default: jobs)",
    "dry_run": "Plan and check the whole job, print what would be sent, and send nothing.",
    "quiet": "Show no progress",
    "max_retries": "Retries of trials whose result is an exception that Harbor would retry (default: 0)",
}
_PANELS = {"dry_run": "Job Settings"}
_SOURCES = ("path", "dataset_name_version", "task_ref", "repo", "task_git_url")

HARBOR_PARAMETERS = inspect.signature(build_job_config).parameters


def harbor_flags() -> list[inspect.Parameter]:
    """Harbor's parameters as parameters of a Typer command, keyword only."""
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=_annotation(parameter))
        for parameter in HARBOR_PARAMETERS.values()
    ]


def refuse_flags(given: Iterable[str]) -> None:
    """Raise :class:`UsageError` for every parameter among ``given`` that makes no sense in a queue."""
    refused = [f"{_flag(name)}: {REFUSED[name]}" for name in given if name in REFUSED]
    if refused:
        raise UsageError("; ".join(refused) + ".")


def given_flags(ctx: typer.Context, options: Iterable[str]) -> set[str]:
    """Which of the options the command line has."""
    sources = {name: ctx.get_parameter_source(name) for name in options}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def with_dataset(options: Mapping[str, Any], given: set[str]) -> dict[str, Any]:
    """Harbor's options, with ``dataset`` as the one of them that it stands for.

    Raises:
        UsageError: nothing says what to run, or two do.
    """
    harbor = {name: options[name] for name in HARBOR_PARAMETERS}
    dataset = options["dataset"]
    if dataset is None:
        if not given & {*_SOURCES, "config_path"}:
            raise UsageError("Say what to run: a DATASET, or -p, -d, -t, --repo or -c.")
        return harbor
    if sources := given & set(_SOURCES):
        raise UsageError(f"DATASET and {', '.join(sorted(sources))} both say what to run; give one of them.")
    path = Path(dataset).expanduser()
    if path.exists() or dataset.startswith((".", "/", "~")):
        return {**harbor, "path": path}
    return {**harbor, "dataset_name_version": dataset}


def job_config(options: Mapping[str, Any]) -> JobConfig:
    """What Harbor makes of its flags.

    Raises:
        UsageError: Harbor refuses them.
    """
    environment = options["environment"]
    if environment not in (None, ENVIRONMENT_IMPORT_PATH):
        raise UsageError(f"--env {environment}: trials run in {ENVIRONMENT_IMPORT_PATH}; leave the flag out.")
    with harbor_console.capture() as printed:
        try:
            config = build_job_config(**{name: options[name] for name in HARBOR_PARAMETERS})
        except ValidationError as error:
            raise UsageError(format_validation_error(error)) from error
        except (ValueError, OSError, typer.BadParameter) as error:
            raise UsageError(str(error)) from error
        except SystemExit:
            config = None
    if config is None:
        raise UsageError(" ".join(printed.get().split()).removeprefix("Error: "))
    # A configuration that names no environment has Harbor's default.
    other = config.environment.import_path or config.environment.type
    if other not in (EnvironmentType.DOCKER, ENVIRONMENT_IMPORT_PATH):
        raise UsageError(
            f"The configuration asks for the environment {other}; trials run in {ENVIRONMENT_IMPORT_PATH}."
        )
    return config


def _annotation(parameter: inspect.Parameter) -> Any:
    annotated, option = get_args(parameter.annotation)[:2]
    assert isinstance(option, OptionInfo)  # noqa: S101 - all of Harbor's are
    option = copy(option)
    name = parameter.name
    option.hidden = option.hidden or name in REFUSED or name in _HIDDEN
    option.help = _HELP.get(name, option.help)
    option.rich_help_panel = _PANELS.get(name, option.rich_help_panel)
    return Annotated[annotated, option]


def _flag(name: str) -> str:
    option = get_args(HARBOR_PARAMETERS[name].annotation)[1]
    # In an annotation the first of an option's names is where its default would be.
    declared = [flag for flag in (option.default, *(option.param_decls or ())) if isinstance(flag, str)]
    return next((flag for flag in declared if flag.startswith("--")), f"--{name.replace('_', '-')}").split("/")[0]
