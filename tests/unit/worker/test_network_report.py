"""What the probe's output means: confirmed only by what was seen."""

from __future__ import annotations

import pytest

from harbor_aws.infra.errors import PermanentError
from harbor_aws.worker.network_probe import PROBES, NetworkNotIsolatedError, NetworkUnclearError, confirm_no_network
from harbor_aws.worker.network_report import objections, parse_report
from harbor_aws.worker.network_script import network_script
from harbor_aws.worker.network_targets import NetworkTargets, network_targets

TARGETS = NetworkTargets(places=(("1.1.1.1", 443), ("169.254.169.254", 80), ("2001:db8::1", 443)), name="a.example")
ALONE = "interfaces lo\nipv6 0\nlistening 0\ndone\n"
BASH = "line 1: /dev/tcp/1.1.1.1/443"


def output(
    *,
    first: str = "137 trying",
    metadata: str = "0 trying OSError(101, 'Network is unreachable')",
    resolve: str | None = "getent 2",
    tool: str = "python3",
    ipv6: int = 0,
    more: str = "",
) -> str:
    """Of a pod with an interface."""
    lines = ["interfaces lo eth0", f"ipv6 {ipv6}", "listening 1", f"tool {tool}"]
    lines += [f"connect 1.1.1.1 443 {first}", f"connect 169.254.169.254 80 {metadata}"]
    lines += [f"resolve a.example {resolve}"] if resolve else []
    return "\n".join([*lines, more, "done", ""])


@pytest.mark.parametrize(
    "text",
    [
        ALONE,
        "interfaces lo\nipv6 1\nlistening 0\ndone",  # the loopback interface's own address
        output(),
        output(first="0 trying TimeoutError('timed out')"),
        output(first="1 trying 1.1.1.1: connect: Operation not permitted"),
        output(first="0 IO::Socket::INET: connect: No route to host No route to host"),
        output(first="1 nc: can't connect to remote host (1.1.1.1): Network is unreachable"),
        output(first="7 * Trying 1.1.1.1:443... * Network is unreachable after=0.000000"),
        output(first="28 * Trying 1.1.1.1:443... * Failed to connect to 1.1.1.1: Timeout was reached after=0.000000"),
        output(metadata="1 trying connect: Connection refused"),  # of the link: the machine's own
        output(resolve="getent 137"),
        output(resolve="python3 0 trying gaierror(-3, 'Temporary failure in name resolution')"),
        output(resolve="perl 0 trying IO::Socket::INET: Bad hostname 'a.example' Connection refused"),
        output(resolve="bash 1 trying a.example: Name or service not known /dev/tcp/a.example/443: Invalid argument"),
        output(resolve="busybox_nc 1 trying nc: bad address 'a.example'"),
        output(resolve="curl 6 * Could not resolve host: a.example"),
        output(resolve="curl 28 * Resolving timed out after 4000 milliseconds after=0.000000"),
        *(output(resolve=f"{tool} 137 trying") for tool in ("python3", "perl", "bash", "busybox_nc", "nc")),
        output(ipv6=1, more="connect 2001:db8::1 443 137 trying"),
        output(more="connect 2001:db8::1 443 0 trying Bad hostname '2001:db8::1'"),  # leads nowhere: no matter
        output(more="connect 2001:db8::1 443 137"),
        output(ipv6=1, more="connect 2001:db8::1 443 0 trying OSError(97, 'Address family not supported by protocol')"),
    ],
)  # fmt: skip
def test_confirmed(text: str) -> None:
    """By structure, or since everything was tried, and in vain."""
    assert objections(parse_report(text), TARGETS) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "did not come to its end"),
        (output().removesuffix("done\n"), "did not come to its end"),
        ("interfaces lo\nlistening 1\ntool none\ndone", "1 listening socket(s), and its image has nothing"),
        ("interfaces unknown\nlistening 0\ntool none\ndone", "interfaces (unknown), and its image has nothing"),
        (output(tool="none"), "interfaces (eth0), and its image has nothing to try them with"),
        (output(first="0 trying reached"), "it reached 1.1.1.1:443"),
        (output(first="52 * Connected to 1.1.1.1 * Empty reply from server after=0.000150"), "it reached 1.1.1.1:443"),
        (output(first="1 trying connect: Connection refused"), "it was refused by 1.1.1.1:443"),
        (output(metadata="0 trying reached"), "it reached 169.254.169.254:80"),
        (output(first="137"), "what came of reaching 1.1.1.1:443 is not clear"),  # it was killed before it tried
        (output(first=f"1 trying {BASH}: No such file or directory"), "is not clear"),
        (output(first="127 trying sh: python3: not found"), "is not clear"),
        (output(first="1 trying nc: bad address '1.1.1.1'"), "is not clear"),
        (output(resolve="getent 0 192.0.2.1 a.example"), "it found an address of a.example"),
        (output(resolve="getent 127 getent: not found"), "whether it can resolve a.example is not clear"),
        (output(resolve="bash 1 trying connect: Connection refused"), "it found an address of a.example"),
        (output(resolve="bash 137"), "whether it can resolve a.example is not clear"),
        (output(resolve="curl 137"), "whether it can resolve a.example is not clear"),
        (output(resolve="bash 137 trying has an address"), "it found an address of a.example"),
        (
            output(resolve="bash 1 trying has an address sh: a.example: Name or service not known"),
            "it found an address",
        ),
        (output(resolve="curl 28 * Trying 192.0.2.7:443... Connection timed out"), "it found an address of a.example"),
        (output(resolve="nc 1 trying nc: connect to a.example port 443 (tcp) timed out"), "it found an address"),
        (output(resolve=None), "nobody tried to resolve a.example"),
        (output(ipv6=1), "nobody tried [2001:db8::1]:443"),
        (output(ipv6=1, more="connect 2001:db8::1 443 0 trying Bad hostname '2001:db8::1'"), "is not clear"),
        (output(more="connect 2001:db8::1 443 0 trying reached"), "it reached [2001:db8::1]:443"),
        (output(tool="late"), "interfaces (eth0), and its programs were too slow"),
        (output(first="0 trying reached").removesuffix("done\n"), "it reached 1.1.1.1:443"),
        (output().replace("connect 1.1.1.1", "elsewhere"), "nobody tried 1.1.1.1:443"),
    ],
)
def test_not_confirmed(text: str, reason: str) -> None:
    """Contact, nobody who could try, and whatever is not clear: each with its reason."""
    assert [each for each in objections(parse_report(text), TARGETS) if reason in each], objections(
        parse_report(text), TARGETS
    )


class Pod:
    """Prints one output after the other."""

    def __init__(self, *outputs: str) -> None:
        self.outputs = list(outputs)

    async def run(self, _: str) -> str:
        return self.outputs.pop(0)


@pytest.mark.parametrize(
    "unclear",
    [output(first="137"), output().removesuffix("done\n"), output(tool="late"), output(resolve="getent 127"), ""],
)
async def test_what_is_not_clear_is_tried_again(unclear: str) -> None:
    """A pod that was too slow is asked once more; one that never says anything clear is one for another attempt."""
    await confirm_no_network(Pod(unclear, output()).run, pod="p", targets=TARGETS)
    never = Pod(*[unclear] * (PROBES + 1))
    with pytest.raises(
        NetworkUnclearError, match=r"not confirmed that pod p has none: .*Nothing of the task"
    ) as caught:
        await confirm_no_network(never.run, pod="p", targets=TARGETS)
    assert len(never.outputs) == 1
    assert not isinstance(caught.value, PermanentError)
    assert (caught.value.pod, caught.value.reason) == ("p", "NetworkUnclear")


@pytest.mark.parametrize(
    "output_",
    [
        output(first="137", metadata="0 trying reached"),
        output(first="0 trying reached").removesuffix("done\n"),  # its time was over, but it had seen enough
        output(resolve="getent 0 192.0.2.1 a.example"),
        output(tool="none"),
    ],
)
async def test_what_another_attempt_cannot_mend(output_: str) -> None:
    """An answer, however little else is clear, and an image with nothing to try with: once is enough, and for good."""
    pod = Pod(output_, ALONE)
    with pytest.raises(NetworkNotIsolatedError) as caught:
        await confirm_no_network(pod.run, pod="p", targets=TARGETS)
    assert isinstance(caught.value, PermanentError)
    assert pod.outputs == [ALONE]


async def test_contact_is_once_too_much() -> None:
    """Nothing that is seen afterwards makes up for it."""
    pod = Pod(output(first="0 trying reached"), ALONE)
    with pytest.raises(
        NetworkNotIsolatedError, match=r"pod p has none: it reached 1\.1\.1\.1:443\. Nothing of the task"
    ):
        await confirm_no_network(pod.run, pod="p", targets=TARGETS)
    assert pod.outputs == [ALONE]


def test_the_api_is_tried_but_on_fargate() -> None:
    """There a pod's interface is its kubelet's, which must reach it; the metadata service is tried everywhere."""
    for isolation, tried in (("namespace", True), ("security-group", False)):
        places = network_targets(isolation, api="https://10.0.0.1:6443").places  # type: ignore[arg-type]  # literals
        assert (("10.0.0.1", 6443) in places) is tried
        assert ("169.254.169.254", 80) in places
    assert ("api.example", 443) in network_targets("namespace", api="https://api.example").places


def test_ipv6_is_tried_where_it_leads_somewhere() -> None:
    """Its places elsewhere wait for a route; those on the host and its link need none, and are always tried."""
    hosts = ("192.0.2.1", "2001:db8::1", "::1", "fe80::1")
    lines = network_script([(host, 443) for host in hosts], name="a.example").splitlines()
    tried = [line for line in lines if '"connect ' in line]
    assert [line.startswith('[ "$routed" = 0 ] || ') for line in tried] == [False, True, False, False]
