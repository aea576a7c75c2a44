"""The command line and its exit codes.

0 done; 1 the job failed; 2 wrong usage or config; 70 our own fault; 75 the state folder is in use.
Heavy parts are imported by the command that needs them, so that `--help` and `check` answer at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import traceback
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from streamd import __version__, config

if TYPE_CHECKING:
    from rich.console import Console

    from streamd.app import App
    from streamd.rerun import Comparison
    from streamd.table import Table

FAILED, USAGE, FAULT, BUSY = 1, 2, 70, 75
LISTED = 20  # incidents

app = typer.Typer(
    name="streamd",
    help="Learns from MQTT sensor streams while it serves them: forecasts with intervals, and anomaly scores.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and end.")
    ] = False,
) -> None:
    pass


ConfigFile = Annotated[Path, typer.Option("-c", "--config", help="TOML file; configs/example.toml shows every key.")]


@app.command()
def run(config_file: ConfigFile) -> None:
    """The daemon: read, forecast, score and learn until SIGTERM."""
    settings = _load(config_file)
    from streamd.edge import log

    log.setup(settings.log)
    gc.disable()
    from streamd.app import App
    from streamd.edge.web import WebError
    from streamd.store.checkpoint import CheckpointError
    from streamd.store.lock import StateLocked
    from streamd.store.sqlite import VersionError

    # what was imported stays: to look through it for garbage holds up readings for a tenth of a second, again and again
    gc.freeze()
    gc.enable()

    async def serve() -> None:
        daemon = App(settings, config_file)
        _listen_to_signals(daemon)
        await daemon.run()

    try:
        asyncio.run(serve())
    except StateLocked as error:
        _fail(str(error), BUSY)
    except (config.ConfigError, CheckpointError, VersionError, WebError) as error:
        _fail(str(error), USAGE)


def _listen_to_signals(daemon: App) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)


@app.command()
def check(
    config_file: Annotated[Path | None, typer.Argument(help="The TOML file to look at.", metavar="FILE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The values and their sources, for machines.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a config, for editors.")] = False,
) -> None:
    """Validate a config and show it as it is in force; exit 2 with a message that names the key when it is wrong."""
    if schema:
        typer.echo(resources.files("streamd").joinpath("config.schema.json").read_text(encoding="utf-8"), nl=False)
        return
    if config_file is None:
        _fail("check: expected a FILE, or --schema", USAGE)
    settings = _load(config_file)
    from streamd import effective, profiles
    from streamd.edge import dial
    from streamd.intake import Intake

    try:
        filters = Intake(settings).filters
        dial.check(settings.mqtt)
        if settings.http.token_file is not None:
            config.read_secret(settings.http.token_file)
    except config.ConfigError as error:
        _fail(f"{config_file}: {error}", USAGE)
    values = effective.effective(settings, config_file.read_text(encoding="utf-8"), config_file.name)
    if as_json:
        told = [{"key": one.name, "value": one.value, "source": one.source, "secret": one.secret} for one in values]
        typer.echo(msgspec.json.format(msgspec.json.encode(told)))
    else:
        typer.echo(f"# {config_file}: good; reads {', '.join(filters)} into {', '.join(settings.groups())}")
        for name, words in profiles.told(settings).items():
            typer.echo(f"# profile of {name}: {words}")
        typer.echo(effective.toml(values))


@app.command()
def inspect(
    folder: Annotated[
        Path, typer.Argument(help="State folder of a daemon, which may be at work.", metavar="STATE_DIR")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Apply the journal again and compare with the newest checkpoint.")
    ] = False,
) -> None:
    """What a state folder holds, all of it verified, nothing changed; exit 1 if anything is damaged or differs."""
    if not folder.is_dir():
        _fail(f"{folder}: is no folder", USAGE)
    import logging

    from streamd import inspection
    from streamd.store.copies import CopyError

    # what the store logs of the copies that it is given here would be taken for news of the folder
    logging.getLogger("streamd").addHandler(logging.NullHandler())
    try:
        found = inspection.inspect(folder)
        compared = _rerun(folder) if replay else None
    except (CopyError, OSError) as error:
        _fail(str(error), FAILED)
    if as_json:
        told = msgspec.to_builtins(found, enc_hook=str) | ({"replay": compared} if replay else {})
        typer.echo(msgspec.json.format(msgspec.json.encode(told)))
    else:
        from streamd import show

        show.inspection(found, show.console())
        if compared is not None:
            show.comparison(compared, show.console())
    if found.problems or (compared is not None and compared.findings):
        raise typer.Exit(FAILED)


@app.command()
def explain(
    incident: Annotated[
        str | None, typer.Argument(help="Id of an incident; none: the latest are listed.", metavar="INCIDENT")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("-c", "--config", help="TOML file of the daemon, which names its state folder.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--state", help="State folder of a daemon, which may be at work.", metavar="STATE_DIR"),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Of the incident, where two groups have one of that id.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this .html file.")] = None,
) -> None:
    """Why an incident was raised: what was expected, what came, which terms spoke, and what earlier was like it."""
    if folder is None:
        folder = Path((config.Config() if config_file is None else _load(config_file)).state.folder)
    if not folder.is_dir():
        _fail(f"{folder}: is no folder; say -c FILE or --state STATE_DIR", USAGE)
    if html is not None and (incident is None or not html.absolute().parent.is_dir()):
        _fail(f"{html}: no such folder" if incident else "--html needs an INCIDENT", USAGE)
    import logging

    from streamd import explaining, portrait, show
    from streamd.report import incident as drawn
    from streamd.report.page import ReportError
    from streamd.store.copies import CopyError

    logging.getLogger("streamd").addHandler(logging.NullHandler())  # of the copy, see `inspect`
    try:
        if incident is None:
            portrait.incidents(explaining.latest(folder, LISTED), show.console())
            return
        found = explaining.explain(folder, incident, group)
        portrait.explanation(found, show.console())
        if html is not None:
            html.write_text(drawn.page(portrait.picture(found)), encoding="utf-8")
    except ReportError as error:
        _fail(str(error), USAGE)
    except (explaining.ExplainError, CopyError, OSError) as error:
        _fail(str(error), FAILED)


def _rerun(folder: Path) -> Comparison:
    from rich.progress import Progress

    from streamd.rerun import RerunError, rerun

    with Progress(console=_stderr(), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("journal", total=1.0)
        try:
            return rerun(folder, on_share=lambda share: progress.update(bar, completed=share))
        except RerunError as error:
            _fail(str(error), FAILED)


@app.command()
def backtest(
    data: Annotated[Path, typer.Argument(help="CSV file, oldest row first.", metavar="DATA.csv")],
    config_file: Annotated[
        Path | None, typer.Option("-c", "--config", help="TOML file with one group; else the default settings.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of times; else the first that holds times.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Columns a,b to use, or -a,-b not to use; else all that are numbers.")
    ] = None,
    horizon: Annotated[int | None, typer.Option(min=1, max=1000, help="Steps to forecast.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every row's outcome to this .npz file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with pictures to this .html file.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Baselines a,b to run beside: persistence, seasonal[:ROWS], snarimax, holtwinters, river for both of "
            "these; for scores zscore, halfspacetrees, oneclasssvm, localoutlierfactor, gaussian, absolutedeviation, "
            "river-anomaly for all but the first of these."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole summary, for machines.")] = False,
) -> None:
    """A file through the same engine as the daemon's, in order, one pass, with no look at the future."""
    table = _open(data, time, channels)
    settings = config.Group()
    if config_file is not None:
        groups = _load(config_file).group
        if len(groups) != 1:
            _fail(f"{config_file}: group: expected one group for a backtest, found {len(groups)}", USAGE)
        settings = next(iter(groups.values()))
    for written in (out, report):
        if written is not None and not written.absolute().parent.is_dir():
            _fail(f"{written}: no such folder", USAGE)
    if horizon is not None:
        settings = msgspec.structs.replace(settings, horizon_steps=horizon)
    from rich.progress import Progress

    from streamd import backtest as module
    from streamd.against.baselines import AgainstError
    from streamd.report.page import ReportError
    from streamd.table import TableError

    with Progress(console=_stderr(), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(data.name, total=1.0)
        try:
            summary = module.backtest(
                table,
                settings,
                out=out,
                report=report,
                against=against.split(",") if against else (),
                on_row=lambda share: progress.update(bar, completed=share),
            )
        except (AgainstError, ReportError) as error:
            _fail(str(error), USAGE)
        except TableError as error:
            _fail(str(error), FAILED)
    for remark in table.remarks():
        typer.echo(f"{data}: {remark}", err=True)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(summary)))
    else:
        from streamd import show

        show.summary(summary, show.console())


@app.command()
def replay(
    data: Annotated[Path, typer.Argument(help="CSV file, oldest row first.", metavar="DATA.csv")],
    topic: Annotated[str, typer.Option(help="Where to; with {channel} in it, one message per channel.")],
    rate: Annotated[float | None, typer.Option(help="Rows per second.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Times real time, by the file's times; 1 if no rate is given.")
    ] = None,
    host: Annotated[str, typer.Option(help="Of the broker.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the broker.")] = 1883,
    username: Annotated[str | None, typer.Option(help="For the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File that holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="PEM file of the broker's authority; turns TLS on.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times; else the first that holds times.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Columns a,b to use, or -a,-b not to use; else all that are numbers.")
    ] = None,
    time_field: Annotated[str, typer.Option(help="Name of the time in the messages.")] = "ts",
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many rows.")] = None,
) -> None:
    """Publish a file to a broker as a device would; exit 0 when the broker has acknowledged all of it."""
    from streamd import replay as module
    from streamd.table import TableError

    table = _open(data, time, channels)
    broker = module.Broker(host, port, username, password_file, ca_file)
    try:
        summary = module.replay(
            table, topic, broker, rate=rate, speed=speed, time_field=time_field, limit=limit, console=_stderr()
        )
    except (module.ReplayError, config.ConfigError, TableError) as error:
        _fail(str(error), FAILED)
    for remark in table.remarks():
        typer.echo(f"{data}: {remark}", err=True)
    typer.echo(f"{summary.rows} rows in {summary.messages} messages, {summary.seconds:.1f} s")


@app.command()
def loadtest(
    config_file: ConfigFile,
    streams: Annotated[int, typer.Option(min=1, max=100_000, help="Made-up streams, which the daemon learns.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, max=1e6, help="Readings per second, of all streams.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long.")] = 30.0,
    channels: Annotated[int, typer.Option(min=1, max=1000, help="Of each reading.")] = 6,
    anywhere: Annotated[bool, typer.Option(help="Also where broker or daemon are not on this machine.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Put a load on a running daemon: throughput, latency, losses, and what it cost; exit 1 if a reading got lost."""
    settings = _load(config_file)
    from streamd import loadtest as module

    try:
        report = module.run(settings, streams=streams, rate=rate, seconds=seconds, channels=channels, anywhere=anywhere)
    except (module.LoadError, config.ConfigError) as error:
        _fail(str(error), FAILED)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        from streamd import show

        show.load(report, show.console())
    if report.answered < report.sent:
        raise typer.Exit(FAILED)


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="End after so many; else at Ctrl-C.")] = None,
) -> None:
    """Everything at once: embedded broker, simulated plant, daemon, page, board. Exit 0 only if answers came back.

    Enter does a machine a fault; a line such as `pump-2 stuck flow` says which.
    """
    from rich.console import Console

    from streamd.app import App
    from streamd.demo.run import demo as play
    from streamd.edge import log

    log.setup(config.Log(level="warning"))
    raise typer.Exit(asyncio.run(play(seconds, App, Console(), orders=sys.stdin.fileno() if sys.stdin else None)))


def _load(path: Path) -> config.Config:
    try:
        return config.load(path)
    except config.ConfigError as error:
        _fail(str(error), USAGE)


def _open(path: Path, time: str | None, channels: str | None) -> Table:
    from streamd.table import TableError, open_table

    try:
        return open_table(path, time, channels.split(",") if channels else None)
    except TableError as error:
        _fail(str(error), USAGE)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"streamd: {text}", err=True)
    raise typer.Exit(code)


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def main() -> None:
    """Run the command line; what no one foresaw ends in a trace and exit code 70, for the supervisor to restart."""
    try:
        app()
    except Exception:
        traceback.print_exc()
        _end(FAULT)
    except SystemExit as end:
        _end(end.code)


def _end(code: str | int | None) -> NoReturn:
    """End with a code, past the interpreter's own end where that would not come to it."""
    training = sys.modules.get("streamd.edge.training")  # which `--help` does without
    if isinstance(code, int) and training is not None and training.hangs():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
