"""Reading Dockerfiles and planning their builds: text in, steps out."""

from __future__ import annotations

import pytest

from harbor_aws.infra.local.kubernetes.images.build_plan import plan_build
from harbor_aws.infra.local.kubernetes.images.build_steps import CopyStep, DirectoryStep, RunStep, StagePlan
from harbor_aws.infra.local.kubernetes.images.dockerfile import DockerfileError, parse_dockerfile
from harbor_aws.infra.local.kubernetes.images.dockerfile_words import WordError, replace_variables, split_words
from harbor_aws.infra.local.kubernetes.images.dockerignore import Ignored
from harbor_aws.infra.local.kubernetes.images.store import ImageConfig


def _plan(text: str, config: ImageConfig | None = None) -> list[StagePlan]:
    return plan_build(parse_dockerfile(text), lambda _: config or ImageConfig())


def _runs(text: str) -> list[RunStep]:
    return [step for step in _plan(text)[-1].steps if isinstance(step, RunStep)]


def _copies(text: str) -> list[CopyStep]:
    return [step for step in _plan(text)[-1].steps if isinstance(step, CopyStep)]


def test_continued_lines_are_joined_across_comments_and_blanks() -> None:
    """Comments and blank lines among continued lines are left out, and the line number is the first one's."""
    parsed = parse_dockerfile("# syntax=x\n\nFROM a\n\nRUN one && \\\n  # no\n\n  two\nRUN three\n")
    assert [(one.line, one.value) for one in parsed.stages[0].instructions] == [(5, "one &&   two"), (9, "three")]


def test_the_escape_directive_changes_the_escape_character() -> None:
    """A backtick joins lines when the file says so, and a backslash does not."""
    parsed = parse_dockerfile("# escape=`\nFROM a\nRUN one `\n two\\\nRUN three\n")
    assert [one.value for one in parsed.stages[0].instructions] == ["one  two\\", "three"]


def test_flags_are_taken_off_the_value() -> None:
    """Leading --name=value words are flags, later ones are not."""
    copy = parse_dockerfile("FROM a\nCOPY --from=b --chown=1:2 --x /a --y=z\n").stages[0].instructions[0]
    assert copy.flags == (("from", "b"), ("chown", "1:2"), ("x", "true"))
    assert copy.value == "/a --y=z"


def test_a_here_document_ends_at_its_name() -> None:
    """The lines of a here-document belong to its instruction, and what follows is an instruction again."""
    run, user = parse_dockerfile("FROM a\nRUN <<-'EOF'\n\tset -e\n\t\tEOF x\n\tEOF\nUSER u\n").stages[0].instructions
    assert run.heredocs[0].content == "set -e\nEOF x\n"
    assert not run.heredocs[0].expand
    assert (user.name, user.line) == ("USER", 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN x", "line 1: RUN before the first FROM"),
        ("# nothing", "there is no FROM"),
        ("FROM a b", "FROM takes an image"),
        ("FROM a\nRUN <<EOF\nx", "line 2: the here-document EOF has no end"),
        ("FROM a\nONBUILD RUN x", "line 2: the instruction ONBUILD is not supported"),
        ("FROM a\nADD https://x/y /z", "line 2: ADD of the address https://x/y"),
        ("FROM a\nRUN --mount=type=secret,id=x cat", "line 2: RUN --mount=type=secret,id=x is not supported"),
        ("FROM a\nRUN --network=none x", "line 2: RUN --network=none is not supported"),
        ("FROM --platform=linux/s390x a", "line 1: --platform=linux/s390x is not this machine's"),
        ("FROM a\nCOPY ../x /", "line 2: ../x lies outside the build context"),
        ("FROM a\nCOPY x", "line 2: COPY takes a source and a destination"),
        ("FROM a\nCOPY --chmod=u+x a b", "line 2: --chmod=u+x is not supported"),
        ("FROM a\nCOPY --exclude=b a b", "line 2: COPY --exclude=b is not supported"),
        ("FROM a\nENV A", "line 2: ENV A has no value"),
        ("FROM a\nRUN", "line 2: RUN without a command"),
        ("FROM a\n\nWORKDIR ${A%b}", "line 3: WORKDIR ${A%b}: ${A%…} is not supported"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_line(text: str, message: str) -> None:
    """Every refusal names the line, before anything runs."""
    with pytest.raises(DockerfileError) as raised:
        _plan(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("'a b' \"c $X\" '$X'", ["a b", "c value", "$X"]),
        (r"a\ b \$X \"", ["a b", "$X", '"']),
        ("${X}y $X-z $NONE.", ["valuey", "value-z", "."]),
        ("${NONE:-d e} ${EMPTY:-d} ${EMPTY-d} ${X:+s} ${NONE:+s}x", ["d e", "d", "", "s", "x"]),
        ("${NONE:-$X} $", ["value", "$"]),
    ],
)
def test_words_are_split_and_variables_replaced(text: str, words: list[str]) -> None:
    """Quotes, escapes and the replacement operators mean what Docker says they mean."""
    assert split_words(text, {"X": "value", "EMPTY": ""}) == words


@pytest.mark.parametrize("text", ["'a", '"a', "${X", "${", "${X:?must be set}"])
def test_words_without_an_end_are_errors(text: str) -> None:
    """A quote or a brace that is not closed, or a required variable that is not set, is an error."""
    with pytest.raises(WordError):
        split_words(text, {})


def test_one_word_keeps_its_spaces() -> None:
    """WORKDIR's value is one word."""
    assert replace_variables("/a b/$X", {"X": "c"}) == "/a b/c"


def test_arguments_and_environment_reach_the_programs() -> None:
    """ARG from before FROM, with defaults, and ENV reach RUN, ENV winning over ARG; ARG is not in the image."""
    text = "ARG V=1\nARG W\nFROM img:$V\nARG V\nARG W=2\nARG X=3\nENV X=4 Y=$V\nENV Z a $Y b\nRUN go\n"
    plan = _plan(text, ImageConfig(env={"BASE": "b"}))[-1]
    run = next(step for step in plan.steps if isinstance(step, RunStep))
    assert plan.base == "img:1"
    assert run.env == {"V": "1", "W": "2", "X": "4", "BASE": "b", "Y": "1", "Z": "a 1 b"}
    assert plan.config.env == {"BASE": "b", "X": "4", "Y": "1", "Z": "a 1 b"}


def test_forms_of_run() -> None:
    """Shell form goes through SHELL, JSON form does not, here-documents become scripts."""
    runs = _runs(
        'FROM a\nRUN a $B\nRUN ["a", "$B"]\nSHELL ["/bin/bash", "-c"]\nRUN a\nRUN <<E\nb\nE\n'
        "RUN <<E\n#!/usr/bin/env x\nE\nRUN python3 <<E\nc\nE\n"
    )
    assert [(run.args, run.script) for run in runs] == [
        (["/bin/sh", "-c", "a $B"], None),
        (["a", "$B"], None),
        (["/bin/bash", "-c", "a"], None),
        (["/bin/bash", "-c", "b\n"], None),
        ([], "#!/usr/bin/env x\n"),
        (["/bin/bash", "-c", "python3 <<E\nc\nE\n"], None),
    ]


def test_directories_follow_each_other() -> None:
    """WORKDIR is relative to the last one, is made, and is where COPY's relative destinations and RUN are."""
    plan = _plan("FROM a\nWORKDIR /a\nUSER u\nWORKDIR b/../c\nCOPY x y/\nRUN z\n")[-1]
    first, second, copy, run = plan.steps
    assert isinstance(first, DirectoryStep)
    assert isinstance(second, DirectoryStep)
    assert isinstance(copy, CopyStep)
    assert isinstance(run, RunStep)
    assert (first.path, second.path, second.owner) == ("/a", "/a/c", "u")
    assert (copy.destination, copy.as_directory, copy.patterns) == ("/a/c/y", True, ["x"])
    assert (run.cwd, run.user) == ("/a/c", "u")


def test_copies_know_their_source() -> None:
    """--from means a stage by name or number, or an image; --chown and --chmod are read."""
    text = (
        "FROM a AS One\nFROM b\nCOPY --from=one /x /y\nCOPY --from=0 /x /y\n"
        "COPY --from=img --chown=1:2 --chmod=750 a b c/\n"
    )
    named, numbered, image = _copies(text)
    assert named.source.stage == numbered.source.stage == 0
    assert (image.source.image, image.owner, image.mode, image.as_directory) == ("img", "1:2", 0o750, True)


def test_only_needed_stages_are_planned() -> None:
    """A stage that nothing refers to is not built."""
    plans = _plan("FROM a AS x\nFROM b AS unused\nRUN no\nFROM x AS y\nFROM c\nCOPY --from=y / /\n")
    assert [(plan.number, plan.base) for plan in plans] == [(0, "a"), (2, 0), (3, "c")]


def test_how_the_image_starts() -> None:
    """ENTRYPOINT forgets an inherited CMD but not this file's own; both forms are read."""
    inherited = ImageConfig(cmd=["old"], user="u", working_dir="/w")
    assert _plan('FROM a\nENTRYPOINT ["e"]\n', inherited)[-1].config.cmd == []
    config = _plan('FROM a\nCMD run it\nENTRYPOINT ["e", "f"]\nSTOPSIGNAL SIGINT\nEXPOSE 80\n', inherited)[-1].config
    assert (config.entrypoint, config.cmd, config.stop_signal) == (["e", "f"], ["/bin/sh", "-c", "run it"], "SIGINT")
    assert (config.user, config.working_dir) == ("u", "/w")


def test_empty_directories_of_a_run() -> None:
    """Cache and tmpfs mounts are directories that are forgotten after the step."""
    (run,) = _runs("FROM a\nRUN --mount=type=cache,target=/var/cache/x --mount=type=tmpfs,dst=/t x\n")
    assert run.memory == ("/var/cache/x", "/t")


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("*.md", "a.md", True),
        ("*.md", "b/a.md", False),
        ("**/*.md", "b/a.md", True),
        ("**/*.md", "a.md", True),
        ("dir", "dir/below/file", True),
        ("dir/*\n!dir/keep", "dir/keep", False),
        ("dir/*\n!dir/keep", "dir/other", True),
        ("# dir\n\n", "dir", False),
        ("/a?c", "abc", True),
        ("*\n!Dockerfile", "x/y", True),
    ],
)
def test_dockerignore(pattern: str, path: str, ignored: bool) -> None:
    """Patterns match as Docker's do, the last one deciding."""
    assert (path in Ignored(pattern)) is ignored
