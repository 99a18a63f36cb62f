"""`trajc tasks ...`: make, validate and load what tasks are made of."""

import typer

app = typer.Typer(help="Make and validate tasks; index a corpus; load a database.", no_args_is_help=True)
