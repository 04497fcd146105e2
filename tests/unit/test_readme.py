"""The README shows what is true: its help text is the real one, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "ci/README.md",
    "deploy/README.md",
)
PAGES = [*(ROOT / name for name in OUTSIDE), *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_help_text_is_the_real_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deepsigns_registry", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "80", "LANG": "C.UTF-8"},
    )
    assert f"$ deepsigns --help\n{done.stdout.rstrip()}\n```" in PAGES[0].read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_setting_is_documented() -> None:
    from deepsigns_registry import sections

    documented = (ROOT / "docs" / "configuration.md").read_text()
    for section in (
        *(sections.RegistrySettings, sections.OwnerSettings, sections.PolicySettings),
        *(sections.KeystoreSettings, sections.ModelSettings, sections.Deployment),
        *(sections.AuditSettings, sections.EngineSettings, sections.WorkerSettings),
        sections.SandboxSettings,
    ):
        for name in section.model_fields:
            assert f"`{name}`" in documented or f"{name} =" in documented, name
