"""The task that does nothing, as tarsk's children import it."""

from tarsk import App

app = App()


@app.task(retries=0)
def noop(params):
    return None
