"""Run coatcheck's command line as ``flask coatcheck ...``."""

from __future__ import annotations

import click

from coatcheck.integration import run_command_line

__all__ = ["command"]


@click.command(
    "coatcheck",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    short_help="Server-side sessions: stores, secret, create-table, prune, demo.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run a command of coatcheck, as ``python -m coatcheck`` does."""
    context.exit(run_command_line(arguments, "flask coatcheck"))
