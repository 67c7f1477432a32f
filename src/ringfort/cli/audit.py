"""``ringfort audit``: read, prove and verify the audit log."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from ringfort.cli.audit_erase import erase
from ringfort.cli.audit_logs import Source, source_options, verifying_options
from ringfort.cli.output import FORMAT, notices, results
from ringfort.cli.telling_audit import as_json, print_entry, print_line, print_version, printable
from ringfort.errors import RingfortError

if TYPE_CHECKING:
    from ringfort.audit.policy import Accepted, Policy
    from ringfort.audit.verify import Verdict

_INDEX = click.IntRange(min=0)


UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class _Age(click.ParamType[timedelta]):
    """A number and a unit."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        found = re.fullmatch(r"([0-9]{1,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no time; write 90m, 26h or 7d", param, ctx)
        return int(found[1]) * UNITS[found[2]]


AGE = _Age()


@click.group(
    epilog="""\b
Examples:
  ringfort audit list --log audit/public
  ringfort audit history customer/acme --log audit/public
  ringfort audit verify audit/public --policy audit.policy
"""
)
def command() -> None:
    """Who changed what, when, from where and why, in a log that nobody can rewrite unnoticed.

    The log is a set of static files: a directory, or the URL where somebody serves it. What is shown is checked against
    the log's checkpoint; with --policy also that the log signed the checkpoint and its witnesses cosigned it.
    """


@command.command(
    "list",
    epilog="""\b
Examples:
  ringfort audit list --log audit/public
  ringfort audit list --log https://audit.shop.example --last 100 --who operator/anna --format json
""",
)
@source_options
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many records.")
@click.option("--who", default="", help="Only records by somebody whose name contains this.")
@click.option("--action", default="", help="Only records of an action that contains this, as in customer:add.")
@FORMAT
def list_(source: Source, last: int, who: str, action: str, format_: str) -> None:
    """List the last records, oldest first: number, time, author, action, object, ticket."""
    found = []
    for entry in source.backwards():
        if who in str(entry.record.who) and action in str(entry.record.action):
            found.append(entry)
            if len(found) == last:
                break
    if format_ == "json":
        click.echo(json.dumps([as_json(entry) for entry in reversed(found)], indent=2))
        return
    console = results()
    for entry in reversed(found):
        print_line(console, entry)


@command.command(
    epilog="""\b
Examples:
  ringfort audit show 17 --log audit/public
  ringfort audit show 17 --log audit --personal
"""
)
@click.argument("index", type=_INDEX)
@source_options
@FORMAT
def show(source: Source, index: int, format_: str) -> None:
    """Show one record whole."""
    entry = source.entry(index)
    if format_ == "json":
        click.echo(json.dumps(as_json(entry), indent=2))
    else:
        print_entry(results(), entry)


@command.command(
    epilog="""\b
Examples:
  ringfort audit history customer/acme --log audit/public
"""
)
@click.argument("object_", metavar="OBJECT")
@source_options
@FORMAT
@click.pass_context
def history(ctx: click.Context, source: Source, object_: str, format_: str) -> None:
    """Show each version of OBJECT: its author, when and why, and what changed.

    A version that did not begin with what the one before it left is marked: something changed without a record. The
    exit code is then 1.
    """
    from ringfort.audit.history import versions

    found = list(versions(source.on(object_)))
    if not found:
        raise RingfortError("audit-no-such-object", f"no record is on {object_}", "audit list shows the objects")
    if format_ == "json":
        rows = [{**as_json(it.entry), "difference": it.difference, "gap": it.gap} for it in found]
        click.echo(json.dumps(rows, indent=2))
    else:
        console = results()
        for version in found:
            print_version(console, version)
    ctx.exit(1 if any(version.gap for version in found) else 0)


@command.command(
    epilog="""\b
Examples:
  ringfort audit prove 17 --log audit/public > 17.tlog-proof
  ringfort audit verify 17.tlog-proof --policy audit.policy
"""
)
@click.argument("index", type=_INDEX)
@source_options
def prove(source: Source, index: int) -> None:
    """Print record INDEX with the proof that it is in the log (C2SP tlog-proof); `verify` takes it, offline."""
    from ringfort.audit.proof import prove as make

    sys.stdout.write(str(make(source.log, source.signed, index)))


@command.command(
    epilog="""\b
Examples:
  ringfort audit verify audit/public --policy audit.policy
  ringfort audit verify https://audit.shop.example --policy audit.policy --since last-month.checkpoint
  ringfort audit verify 17.tlog-proof --policy audit.policy
"""
)
@click.argument("place", metavar="DIR-OR-URL")
@verifying_options
@click.option(
    "--since",
    metavar="CHECKPOINT",
    multiple=True,
    help="A checkpoint kept from earlier, or another witness's: a file or a URL. Repeat it for more.",
)
@click.option(
    "--max-age", metavar="TIME", type=AGE, help="How old the quorum's cosignatures may be, as in 90m, 26h, 7d."
)
@click.option("--keep", metavar="FILE", help="Keep the checkpoint that was verified, for --since the next time.")
@FORMAT
@click.pass_context
def verify(
    ctx: click.Context,
    source: Source,
    since: tuple[str, ...],
    max_age: timedelta | None,
    keep: str | None,
    format_: str,
) -> None:
    """Verify a log, or one record's proof, against whom the policy trusts: offline, without the controller.

    Every record is read and hashed up to the root that the log signed and its witnesses cosigned. Says exactly which
    record was changed, removed, inserted or moved, which file is damaged, and whether the log forked. The exit code is
    0 when the log is what was signed, 1 when it is not or its checkpoint is not accepted, 2 for bad input.
    """
    from ringfort.audit.errors import AuditError
    from ringfort.audit.verify import verify as judge

    policy = source.policy
    assert policy is not None
    if Path(source.place).is_file():
        ctx.exit(_verify_proof(Path(source.place), policy, max_age, format_))
    kept = [source.checkpoint_at(place) for place in since]
    try:
        verdict = judge(source.files, policy, kept, len(os.sched_getaffinity(0)))
        _check_age(policy, verdict.accepted, max_age)
    except AuditError as error:
        if error.code not in NOT_ACCEPTED:
            raise
        ctx.exit(_refused(error, format_))
    _print_verdict(verdict, format_)
    if keep is not None and verdict.intact:
        Path(keep).write_text(str(verdict.accepted.signed))
    ctx.exit(0 if verdict.intact else 1)


NOT_ACCEPTED = frozenset(
    {"audit-unwitnessed", "audit-stale", "audit-unsigned", "audit-unknown-log", "audit-signature", "audit-not-included"}
)
"""Codes that are verdicts about the log, not about the call."""


def _refused(error: RingfortError, format_: str) -> int:
    if format_ == "json":
        click.echo(json.dumps({"result": "not-accepted", "code": error.code, "message": error.message}, indent=2))
    else:
        console = results()
        console.print(f"[red]not accepted[/red]  {escape(printable(error.message))} \\[{error.code}]")
        if error.hint:
            notices().print(f"hint: {error.hint}")
    return 1


def _check_age(policy: Policy, accepted: Accepted, max_age: timedelta | None) -> None:
    if max_age is not None:
        policy.check_age(accepted, datetime.now(UTC), max_age)


def _verify_proof(path: Path, policy: Policy, max_age: timedelta | None, format_: str) -> int:
    from ringfort.audit.errors import AuditError
    from ringfort.audit.history import read_entry
    from ringfort.audit.proof import parse_proof

    proof = parse_proof(path.read_bytes())
    try:
        accepted = proof.verify(policy)
        _check_age(policy, accepted, max_age)
    except AuditError as error:
        if error.code not in NOT_ACCEPTED:
            raise
        return _refused(error, format_)
    entry = read_entry(proof.leaf)
    if format_ == "json":
        click.echo(json.dumps({"result": "included", "size": accepted.checkpoint.size, **as_json(entry)}, indent=2))
    else:
        console = results()
        witnesses = _witnesses(accepted.witnesses)
        console.print(f"[green]included[/green]  record {proof.index} of {accepted.checkpoint.size}, {witnesses}")
        print_entry(console, entry)
    return 0


def _witnesses(times: Mapping[str, datetime]) -> str:
    return "cosigned by " + ", ".join(f"{name} at {time:%Y-%m-%d %H:%M:%S} UTC" for name, time in times.items())


def _print_verdict(verdict: Verdict, format_: str) -> None:
    checkpoint = verdict.accepted.checkpoint
    if format_ == "json":
        document = {
            "result": "intact" if verdict.intact else "not-intact",
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "witnesses": {name: time.isoformat() for name, time in verdict.accepted.witnesses.items()},
            "findings": [
                {"kind": it.kind, "index": it.index if it.index >= 0 else None, "message": it.message}
                for it in verdict.findings
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    console = results()
    word = "[green]intact[/green]" if verdict.intact else "[red]not intact[/red]"
    about = f"{checkpoint.origin}: {checkpoint.size} records, {_witnesses(verdict.accepted.witnesses)}"
    console.print(f"{word}  {escape(printable(about))}")
    for finding in verdict.findings:
        console.print(f"  [red]{finding.kind}[/red]  {escape(printable(finding.message))}")


command.add_command(erase)
