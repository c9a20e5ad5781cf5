"""stub"""


def render(report, console, rows):
    console.print(report.verdict)
    for g in report.gates:
        console.print(g.outcome, g.expr, g.reason)
