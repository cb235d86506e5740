"""Tests with every Python that there is: `nox`; with one: `nox -s tests-3.12`."""

import nox

PYTHONS = ("3.11", "3.12", "3.13")
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests that take less than ten seconds each; what is given after -- goes to pytest."""
    project = nox.project.load_toml("pyproject.toml")
    session.install("-e", ".[demo]", *nox.project.dependency_groups(project, "test"))
    session.run(
        *("pytest", "-m", "not slow", "--numprocesses", "auto", "--dist", "loadfile"),
        *session.posargs,
        env={"OMP_NUM_THREADS": "1"},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    project = nox.project.load_toml("pyproject.toml")
    session.install("-e", ".[demo]", *nox.project.dependency_groups(project, "dev"))
    session.run("ruff", "check", "src", "tests", "docs", "benchmarks", "conftest.py", "noxfile.py")
    session.run("pyright")
