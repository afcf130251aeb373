"""The task that does nothing, as mayu's workers import it."""

import os

from mayu import App

app = App(broker=os.environ["MAYU_BROKER"], result_ttl=600)


@app.task()
def noop(params):
    return None
