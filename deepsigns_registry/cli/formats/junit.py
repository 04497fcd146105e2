"""JUnit's XML, which GitLab, Jenkins and others show as results of tests.

*Refused* and *tampered* are failures of different types; what could not be checked is an error.
"""

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.printing import shown

__all__ = ["render"]

_NAMELESS = "the command line"


def render(finding: Finding) -> str:
    """One suite with one test case.

    What belongs to the version are properties: systems that read `system-out` follow what looks
    like the path of an attachment in it, and a model's name may.
    """
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    failed = finding.exit_code in {1, 4}
    counts = {
        "tests": "1",
        "failures": str(int(failed)),
        "errors": str(int(not finding.allowed and not failed)),
        "skipped": "0",
    }
    suites = Element("testsuites", {"name": "deepsigns", **counts})
    suite = SubElement(suites, "testsuite", {"name": "deepsigns gate", **counts})
    facts = {**finding.facts, **{f"ignored {name}": why for name, why in finding.ignored.items()}}
    if facts:
        properties = SubElement(suite, "properties")
        for name, value in facts.items():
            SubElement(properties, "property", {"name": shown(name), "value": shown(value)})
    subject = shown(finding.subject) or _NAMELESS
    case = SubElement(suite, "testcase", {"classname": "deepsigns.gate", "name": subject})
    if not finding.allowed:
        found = SubElement(
            case,
            "failure" if failed else "error",
            {"type": finding.code, "message": shown(f"{finding.word}: {finding.message}")},
        )
        lines = (f"{finding.word}: {finding.message}", finding.advice)
        found.text = "\n".join(shown(line) for line in lines if line)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode")
