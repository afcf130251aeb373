"""The second entry contract: `module()` returns an object with `run(params)` (C1-1)."""


class Doubler:
    def run(self, params):
        return {"result": params["value"] * 2, "status": "ok"}


def module():
    return Doubler()
