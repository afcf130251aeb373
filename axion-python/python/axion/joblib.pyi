from typing import Any

AxionBackend: type[Any]

def register(make_default: bool = False) -> None: ...
