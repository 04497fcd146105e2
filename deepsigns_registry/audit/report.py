"""The audit report: one HTML file that needs nothing else.

It opens offline, loads nothing and runs nothing, and a content security policy inside it says
so to the browser. Names come from strangers, so every string passes `html.escape`.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files

from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.report_parts import checks, deployment_facts, results_table, tiles
from deepsigns_registry.audit.report_words import headline, meaning

__all__ = ["CHECK_SIGNATURE", "render"]

CHECK_SIGNATURE = """\
import base64, hashlib, json, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

envelope = json.load(open("audit.sigstore.json"))["dsseEnvelope"]
kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
key = serialization.load_pem_public_key(open(sys.argv[1], "rb").read())
signature = base64.b64decode(envelope["signatures"][0]["sig"])
key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))  # raises InvalidSignature
statement = json.loads(payload)
assert statement["predicateType"] == "urn:deepsigns-registry:predicate:audit:v0"
digests = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}
for name in ("report.html", "results.json"):
    assert hashlib.sha256(open(name, "rb").read()).hexdigest() == digests[name], name
print("signed and unchanged:", statement["predicate"]["deployment"])
"""
"""Checks a report's signature and digests with nothing but `cryptography`; the report quotes it."""

# Nothing may be loaded and nothing may run, whatever a hostile name managed to smuggle in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(finding: Finding, figures: Mapping[str, str]) -> str:
    """Writes the report.

    Args:
        finding: What the audit found.
        figures: Attack family to SVG elements, from `curves.figures`.

    Returns:
        A complete HTML document.
    """
    head = headline(finding)
    style = (files("deepsigns_registry.audit") / "report.css").read_text(encoding="utf-8")
    title = escape(f"{finding.deployment}: {head.title}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header class="top">
<div><p class="kicker">Watermark audit</p><h1>{escape(finding.deployment)}</h1></div>
<p class="when">{finding.started:%d %B %Y, %H:%M} UTC<br>{_duration(finding)}</p>
</header>
<section class="verdict {head.tone}">
<p class="word">{_ICONS[head.tone]}{escape(head.title)}</p>
{"".join(f"<p>{escape(sentence)}</p>" for sentence in head.sentences)}
</section>
{tiles(finding)}
{_curves(figures, finding.score)}
{results_table(finding)}
{_meaning(finding)}
<h2>The deployment</h2>
<div class="card">{deployment_facts(finding)}</div>
<h2>Checks of the results</h2>
<div class="card">{checks(finding.judgement)}</div>
{_signature()}
<footer>Written by {escape(finding.tool)}. This file loads nothing from anywhere and can be kept,
printed and passed on as it is.</footer>
</main>
</body>
</html>
"""


def _duration(finding: Finding) -> str:
    seconds = round((finding.finished - finding.started).total_seconds())
    return f"took {seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"took {seconds} s"


def _meaning(finding: Finding) -> str:
    does, does_not = meaning(finding)
    cards = "".join(
        f'<div class="card"><h3>{title}</h3><ul>'
        + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        + "</ul></div>"
        for title, sentences in (("What this means", does), ("What it does not mean", does_not))
    )
    return f'<h2>How to read this</h2><div class="pair">{cards}</div>'


def _curves(figures: Mapping[str, str], score: str) -> str:
    if not figures:
        return ""
    drawn = "".join(
        f"<figure><figcaption>{escape(family.capitalize())}</figcaption>"
        f'<div class="panels">{svg}</div></figure>'
        for family, svg in figures.items()
    )
    return f"""<h2>What the attacks did</h2>
<p class="note">Each point is a copy of the deployed file after one attack. An attack is worth
making only while the {escape(score)} stays high; the mark should outlive the model's usefulness.
Dashed grey lines are the limits of the verdict.</p>
{drawn}"""


def _signature() -> str:
    return f"""<h2>Check the signature of this report</h2>
<div class="card">
<p>This page is signed together with <code>results.json</code> and the deployed file's digest in
<code>audit.sigstore.json</code>, which lies beside it (an in-toto statement in a DSSE envelope,
ECDSA P-256). A page without a good signature proves nothing. Take the auditor's public key from
a place you trust, not from whoever gave you this page.</p>
<p>Without this software, with Python and its <code>cryptography</code> package: save these lines
as <code>check.py</code> in this folder and run <code>python check.py KEY.pem</code>.</p>
<pre>{escape(CHECK_SIGNATURE)}</pre>
</div>"""


def _icon(path: str) -> str:
    return (
        '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
        f'<circle cx="12" cy="12" r="10"></circle><path d="{path}"></path></svg>'
    )


_ICONS = {
    "good": _icon("M7.5 12.5l3 3 6-6.5"),
    "bad": _icon("M8.5 8.5l7 7M15.5 8.5l-7 7"),
    "unsure": _icon("M9.2 9.3a2.9 2.9 0 1 1 4.2 2.6c-.9.5-1.4 1.1-1.4 2.1M12 17.2v.1"),
}
