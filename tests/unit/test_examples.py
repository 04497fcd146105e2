"""At least a third of the public functions show in an example, which is run, how they are used."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    ROOT / "deepsigns_registry",
    ROOT / "plugins" / "mlflow-deepsigns" / "mlflow_deepsigns",
    ROOT / "plugins" / "uchida" / "deepsigns_uchida",
)


def public_functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions that `__all__` names; commands are documented by their `--help`."""
    named: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            named = set(ast.literal_eval(node.value))
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name in named and not is_command(node):
            yield node


def is_command(function: ast.FunctionDef) -> bool:
    written = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(text.split("(")[0].endswith((".command", ".group")) for text in written)


def test_a_third_of_the_public_functions_have_an_example() -> None:
    functions = [
        function
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
        for function in public_functions(ast.parse(path.read_text(encoding="utf-8")))
    ]
    shown = [function for function in functions if ">>>" in (ast.get_docstring(function) or "")]
    assert len(functions) > 400
    assert len(shown) >= len(functions) / 3, f"{len(shown)} of {len(functions)}"
