"""The command `trajc`. Modules here import nothing heavy before a command runs, so that `--help` is quick."""

import signal

import typer

from api.cli import (
    cancel_command,
    compile_commands,
    dataset_commands,
    endpoint_commands,
    machine_commands,
    oracle_command,
    run_commands,
    runs_commands,
    swe_commands,
    task_commands,
    worker_commands,
)

app = typer.Typer(
    name="trajc",
    help="Runs LLM agents in sandboxed environments, keeps every trajectory, and compiles trajectories into "
    "long-context training data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(machine_commands.serve)
app.command()(run_commands.run)
app.add_typer(runs_commands.app, name="runs")
app.add_typer(endpoint_commands.app, name="endpoints")
app.command("compile")(compile_commands.compile_dataset)
app.command()(cancel_command.cancel)
app.command()(dataset_commands.verify)
app.command()(dataset_commands.pull)
task_commands.app.command("make-swe")(swe_commands.make_swe)
task_commands.app.command("mine-swe")(swe_commands.mine_swe)
task_commands.app.command("load-swe")(swe_commands.load_swe)
task_commands.app.command("rate-swe")(swe_commands.rate_swe)
task_commands.app.command("base-image")(swe_commands.base_image)
app.add_typer(task_commands.app, name="tasks")
app.add_typer(worker_commands.app, name="worker")
app.command()(oracle_command.oracle)
app.command()(run_commands.inspect)
app.command()(machine_commands.doctor)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started, sandboxes too, is ended
    app()


__all__ = ["app", "main"]
