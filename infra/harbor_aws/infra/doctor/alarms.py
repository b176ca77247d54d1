"""The stack's alarms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import ask
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.finding import Outcome

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject


async def _alarms(subject: Subject) -> Outcome:
    """CloudFormation calls them ``<stack>-<name in the template>-<something random>``."""
    prefix = f"{subject.question.stack}-"
    ours = re.compile(f"{re.escape(prefix)}[A-Za-z0-9]+-[A-Za-z0-9]+")
    answer = await ask(
        "cloudwatch:DescribeAlarms",
        lambda: subject.cloudwatch().describe_alarms(AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"]),
    )
    found = [each for each in answer["MetricAlarms"] if ours.fullmatch(each["AlarmName"])]
    if not found:
        return Outcome.warning("the stack's alarms are gone", f"harbor-aws deploy{subject.option}")
    raised = [each for each in found if each["StateValue"] == "ALARM"]
    if raised:
        said = "; ".join(f"{each['AlarmName']}: {each.get('AlarmDescription', '')}" for each in raised)
        return Outcome.warning(said, f"aws cloudwatch describe-alarms --alarm-name-prefix {prefix} --state-value ALARM")
    return Outcome.ok(f"none of {len(found)} is raised")


CHECKS = (
    Check(
        id="alarms",
        title="No alarm is raised",
        look=_alarms,
        fix="Let this machine reach CloudWatch by HTTPS (port 443).",
        needs=("stack",),
        applies_to=ON_AWS,
    ),
)
