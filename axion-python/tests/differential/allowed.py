"""The closed list: where a result may differ from the plain run, and why. docs/guides/functions.md has the same list.

An entry is the kind, a part of the place's name (or ""), a part of the step, and the reason.
"""

ALLOWED = [
    ("library classes", "", "is made by C code and cannot be copied",
     "A class that a metaclass in C makes, such as a ctypes.Structure, is refused with the reason (L18)."),
]


def reason(kind, place, text):
    for allowed_kind, allowed_place, allowed_text, why in ALLOWED:
        if allowed_kind == kind and allowed_place in place and allowed_text in text:
            return why
    return None
